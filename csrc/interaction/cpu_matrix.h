// Products of small matrices, for one instruction set.
#pragma once

#include "../filter_sum/cpu_vectors.h"

namespace equinet {
namespace EQUINET_ISA {

// Matrices a [rows, inner], with any strides, and b [inner, columns], contiguous.
template <class T>
struct Factors {
  const T* a;
  int64_t row_stride, inner_stride;
  const T* b;
  int64_t inner;
};

// Rows of a result in blocks of at most this many stay in registers.
constexpr int ROWS_AT_ONCE = 6;
constexpr int COLUMNS_AT_ONCE = RESIDENT_VECTORS / 4;

// A block of rows and of vectors of columns.
template <int ROWS, int GROUPS, int W, class T>
EQUINET_INLINE void multiply_block(const Factors<T>* factors, int count, const int64_t* rows,
                                   int64_t columns, int64_t column, T* c, int64_t stride) {
  typedef Vector<T, W> V;
  V sum[ROWS][GROUPS];
  EQUINET_UNROLL
  for (int i = 0; i < ROWS * GROUPS; ++i) sum[i / GROUPS][i % GROUPS] = V{};
  for (const Factors<T>* each = factors; each < factors + count; ++each) {
    const T* a[ROWS];
    EQUINET_UNROLL
    for (int r = 0; r < ROWS; ++r) a[r] = each->a + rows[r] * each->row_stride;
    const T* b = each->b + column;
    const int64_t step = each->inner_stride, end = each->inner * step;
    for (int64_t k = 0; k < end; k += step, b += columns) {
      V x[GROUPS];
      EQUINET_UNROLL
      for (int g = 0; g < GROUPS; ++g) x[g] = load<V>(b + g * W);
      EQUINET_UNROLL
      for (int r = 0; r < ROWS; ++r) {
        EQUINET_UNROLL
        for (int g = 0; g < GROUPS; ++g) sum[r][g] += a[r][k] * x[g];
      }
    }
  }
  EQUINET_UNROLL
  for (int r = 0; r < ROWS; ++r) {
    EQUINET_UNROLL
    for (int g = 0; g < GROUPS; ++g) store(sum[r][g], c + rows[r] * stride + column + g * W);
  }
}

template <int ROWS, int GROUPS, int W, class T>
EQUINET_INLINE void multiply_rows(const Factors<T>* factors, int count, const int64_t* rows,
                                  int64_t row_count, int64_t columns, int64_t column, T* c,
                                  int64_t stride) {
  for (; row_count >= ROWS; row_count -= ROWS, rows += ROWS) {
    multiply_block<ROWS, GROUPS, W>(factors, count, rows, columns, column, c, stride);
  }
  if constexpr (ROWS > 1) {
    multiply_rows<ROWS / 2, GROUPS, W>(factors, count, rows, row_count, columns, column, c, stride);
  }
}

// c [row, columns] = sum over factors of a b, in the given rows of c and of every a. Rows of c are
// `stride` apart.
template <class T>
void multiply(const Factors<T>* factors, int count, const int64_t* rows, int64_t row_count,
              int64_t columns, T* c, int64_t stride) {
  with_width<NATIVE_WIDTH<T>>(columns, [&](auto width) {
    constexpr int W = width, MOST = W == NATIVE_WIDTH<T> ? COLUMNS_AT_ONCE : 1;
    for_group_blocks<W, MOST>(columns, [&](int64_t, int64_t column, auto groups) {
      multiply_rows<ROWS_AT_ONCE, groups, W>(factors, count, rows, row_count, columns, column, c,
                                             stride);
    });
  });
}

}  // namespace EQUINET_ISA
}  // namespace equinet
