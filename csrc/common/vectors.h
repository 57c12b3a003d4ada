// Width of the vectors in the CPU kernels.
//
// A lane is one place in a vector on the CPU, and one of the 32 threads of a warp on CUDA. Each op
// has another name for the number that it computes in a lane.
#pragma once

#include <stdint.h>

namespace equinet {

// Bytes of a vector in the widest instruction set, to which working memory is aligned.
constexpr int64_t WIDEST_VECTOR = 64;

#ifdef EQUINET_ISA
namespace EQUINET_ISA {

// Bytes of a vector in this instruction set.
#if defined(__AVX512F__)
constexpr int VECTOR_BYTES = 64;
#elif defined(__AVX2__)
constexpr int VECTOR_BYTES = 32;
#else
constexpr int VECTOR_BYTES = 16;
#endif

// Number of lanes of a vector in this instruction set.
template <class T>
constexpr int NATIVE_WIDTH = VECTOR_BYTES / int(sizeof(T));

template <class T, int W>
struct VectorOf {
  typedef T Type __attribute__((vector_size(W * sizeof(T))));
};
template <class T>
struct VectorOf<T, 1> {
  typedef T Type;
};

// A vector of W lanes; with one lane it is a number.
template <class T, int W = NATIVE_WIDTH<T>>
using Vector = typename VectorOf<T, W>::Type;

}  // namespace EQUINET_ISA
#endif
}  // namespace equinet
