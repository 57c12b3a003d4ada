// The vectors of the CPU kernels: how wide they are.
//
// A lane is one place in a vector, and on CUDA it is one of the 32 threads of a warp. What is
// computed there is not called a lane; each op has a name of its own for it.
#pragma once

#include <stdint.h>

namespace equinet {

// Bytes of a vector in the widest instruction set: what working memory is aligned to.
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

// Lanes of such a vector.
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
