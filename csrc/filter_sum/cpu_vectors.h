// Vectors of channels for the kernels of the convolution.
//
// A row of channels is covered by groups of W channels, one vector each. The last group is moved
// back to end with the row, so that no lane lies outside; it overlaps with the group before, and
// both compute the same numbers there. W is the largest power of two that the instruction set and
// the row allow.
#pragma once

#include <stdint.h>
#include <string.h>

#include <utility>

#include "../common/vectors.h"
#include "cpu_kernels.h"

namespace equinet {
namespace EQUINET_ISA {

// Number of vectors of radial weights that stay in registers, half of the registers.
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int RESIDENT_VECTORS = 16;
#else
constexpr int RESIDENT_VECTORS = 8;
#endif

template <class V, class T>
EQUINET_INLINE V load(const T* data) {
  V value;
  memcpy(&value, data, sizeof value);
  return value;
}

template <class V, class T>
EQUINET_INLINE void store(const V& value, T* data) {
  memcpy(data, &value, sizeof value);
}

// Number of edges ahead whose radial weights are prefetched; the processor cannot predict the rows.
constexpr int64_t EDGES_AHEAD = 2;

template <class T>
EQUINET_INLINE void prefetch(const T* data, int64_t count) {
  constexpr int64_t LINE = 64 / sizeof(T);
  for (int64_t i = 0; i < count; i += LINE) __builtin_prefetch(data + i);
}

template <int N>
struct Constant {
  EQUINET_INLINE constexpr operator int() const { return N; }
};

template <int W>
EQUINET_INLINE int64_t group_count(int64_t channels) {
  return (channels + W - 1) / W;
}

template <int W>
EQUINET_INLINE int64_t group_start(int64_t group, int64_t channels) {
  return group * W + W <= channels ? group * W : channels - W;
}

// Calls f(group, channel, count) for blocks of at most COUNT groups that lie side by side, from
// that group and channel on; count is a constant expression.
template <int W, int COUNT, class F>
EQUINET_INLINE void for_group_blocks(int64_t channels, const F& f, int64_t group = 0) {
  for (; (group + COUNT) * W <= channels; group += COUNT) f(group, group * W, Constant<COUNT>{});
  if constexpr (COUNT > 1) {
    for_group_blocks<W, COUNT - 1>(channels, f, group);
  } else if (group * W < channels) {
    f(group, channels - W, Constant<1>{});
  }
}

// Calls f with the width W for a row of channels, as a constant expression.
template <int W, class F>
EQUINET_INLINE void with_width(int64_t channels, const F& f) {
  if constexpr (W == 1) {
    f(Constant<1>{});
  } else if (channels >= W) {
    f(Constant<W>{});
  } else {
    with_width<W / 2>(channels, f);
  }
}

template <class T>
struct IndexOf {
  typedef int32_t Type;
};
template <>
struct IndexOf<double> {
  typedef int64_t Type;
};

// Lane 2 B n + i holds a[2 B n + i] + a[2 B n + B + i], and lane 2 B n + B + i the same sum of b,
// for i < B.
template <class T, int W, int B, int... I>
EQUINET_INLINE Vector<T, W> add_neighbors(Vector<T, W> a, Vector<T, W> b,
                                          std::integer_sequence<int, I...>) {
#if defined(__clang__)
  return __builtin_shufflevector(a, b, (I / B % 2 * W + I / (2 * B) * 2 * B + I % B)...) +
         __builtin_shufflevector(a, b, (I / B % 2 * W + I / (2 * B) * 2 * B + B + I % B)...);
#else
  typedef typename IndexOf<T>::Type Index __attribute__((vector_size(W * sizeof(T))));
  constexpr Index first = {(I / B % 2 * W + I / (2 * B) * 2 * B + I % B)...};
  constexpr Index second = {(I / B % 2 * W + I / (2 * B) * 2 * B + B + I % B)...};
  return __builtin_shuffle(a, b, first) + __builtin_shuffle(a, b, second);
#endif
}

// Sums each of W vectors over its lanes, and leaves the vector of the sums in x[0].
template <class T, int W, int B = 1>
EQUINET_INLINE void sum_lanes(Vector<T, W>* x) {
  if constexpr (B < W) {
    EQUINET_UNROLL
    for (int i = 0; i < W / (2 * B); ++i) {
      x[i] = add_neighbors<T, W, B>(x[2 * i], x[2 * i + 1], std::make_integer_sequence<int, W>{});
    }
    sum_lanes<T, W, 2 * B>(x);
  }
}

// Sums over lanes of `count` vectors. Reads vectors and writes sums up to a multiple of W.
template <class T, int W>
EQUINET_INLINE void sums_of_lanes(const Vector<T, W>* vectors, int64_t count, T* sums) {
  for (int64_t i = 0; i < count; i += W) {
    Vector<T, W> block[W];
    EQUINET_UNROLL
    for (int j = 0; j < W; ++j) block[j] = vectors[i + j];
    sum_lanes<T, W>(block);
    store(block[0], sums + i);
  }
}

// Working memory, which is given out in parts that are aligned to the widest vector.
template <class T>
struct Scratch {
  T* next;
  EQUINET_INLINE T* take(int64_t count) {
    T* piece = next;
    next += (count * sizeof(T) + WIDEST_VECTOR - 1) / WIDEST_VECTOR * WIDEST_VECTOR / sizeof(T);
    return piece;
  }
  template <int W>
  EQUINET_INLINE Vector<T, W>* take_vectors(int64_t count) {
    return reinterpret_cast<Vector<T, W>*>(take(count * W));
  }
};

// k[p] = sum over m of Y[lm] H[lm, p] for one degree: the zonal kernel at the first of each pair.
template <class T>
EQUINET_INLINE void zonal_kernel(const T* harmonics, const FilterTable<T>& table, int64_t degree,
                                 T* k) {
  constexpr int W = NATIVE_WIDTH<T>;
  typedef Vector<T, W> V;
  const T *y = harmonics + degree * degree, *rows = table.values + degree * degree * table.stride;
  const auto columns = [&](int64_t p, auto count) {
    constexpr int COUNT = count;
    V sum[COUNT];
    EQUINET_UNROLL
    for (int i = 0; i < COUNT; ++i) sum[i] = V{};
    const T* row = rows + p;
    for (int64_t m = 0; m < 2 * degree + 1; ++m, row += table.stride) {
      EQUINET_UNROLL
      for (int i = 0; i < COUNT; ++i) sum[i] += y[m] * load<V>(row + i * W);
    }
    EQUINET_UNROLL
    for (int i = 0; i < COUNT; ++i) store(sum[i], k + p + i * W);
  };
  int64_t p = 0;
  for (; p + 2 * W <= table.stride; p += 2 * W) columns(p, Constant<2>{});
  if (p < table.stride) columns(p, Constant<1>{});
}

}  // namespace EQUINET_ISA
}  // namespace equinet
