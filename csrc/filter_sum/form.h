// The form behind the convolution, and its arithmetic at one pair of points.
//
//   T(Y, r, u, v) = sum over edges e, filters q, points p, degrees l, channels c of
//                   k[e,q,p,l] r[e,q,l,c] u[source(e),p,c] v[target(e),p,c],
//   k[e,q,p,l]    = sum over orders m of Y[e,q,lm] H[p,lm].
//
// The points are opposite to one another two by two: point `half` + p is opposite to point p. There
// harmonics of even degree are the same and those of odd degree change sign, so both points of a
// pair are served by the sums over even and over odd degrees; H is tabulated at the first `half`.
//
// On the CPU V is a vector of channels and T its element, on CUDA both are one number. Terms are
// pairs (q, l), those of even degree first; their counts are compiled in.
#pragma once

#include <stdint.h>

#include "../common/inline.h"

namespace equinet {

// Largest number of terms in one pass over the points.
constexpr int MAX_TERMS = 8;

// Largest number of filters in one sum: two in second derivatives.
constexpr int MAX_FILTERS = 2;

#ifdef EQUINET_ISA
namespace EQUINET_ISA {
#endif

// Terms of one pass over the points.
struct TermBlock {
  int even, odd;
  int filter[MAX_TERMS];
  int degree[MAX_TERMS];
};

// Terms of the degrees first <= l < last of the filters first_filter <= q < last_filter.
inline TermBlock block_of(int first_filter, int last_filter, int first, int last) {
  TermBlock block = {};
  for (int parity = 0; parity < 2; ++parity) {
    for (int q = first_filter; q < last_filter; ++q) {
      for (int l = first; l < last; ++l) {
        if (l % 2 != parity) continue;
        const int t = block.even + block.odd;
        block.filter[t] = q;
        block.degree[t] = l;
        ++(parity == 0 ? block.even : block.odd);
      }
    }
  }
  return block;
}

// Calls f(block) for blocks of at most `limit` terms, of all filters at once if they fit.
template <class F>
inline void for_term_blocks(int filters, int degrees, int limit, const F& f) {
  const int together = filters * degrees <= limit ? filters : 1, step = limit / together;
  for (int q = 0; q < filters; q += together) {
    for (int l = 0; l < degrees; l += step) {
      f(block_of(q, q + together, l, l + step < degrees ? l + step : degrees));
    }
  }
}

// Adds f u at both points of a pair, where f = sum over terms of k r. `k` holds the kernel of the
// first term at the pair; those of further terms follow at distances of `stride`.
template <int EVEN, int ODD, class T, class V>
EQUINET_INLINE void add_filtered(const T* k, int64_t stride, const V* r, const V& near,
                                 const V& far, V& near_sum, V& far_sum) {
  V even = V{}, odd = V{};
  EQUINET_UNROLL
  for (int t = 0; t < EVEN; ++t) even = t == 0 ? k[0] * r[0] : even + k[t * stride] * r[t];
  EQUINET_UNROLL
  for (int t = EVEN; t < EVEN + ODD; ++t) {
    odd = t == EVEN ? k[t * stride] * r[t] : odd + k[t * stride] * r[t];
  }
  near_sum += (even + odd) * near;
  far_sum += (even - odd) * far;
}

// Sum and difference of the products u v at both points of a pair.
template <class V>
EQUINET_INLINE void fold_products(const V& near_u, const V& near_v, const V& far_u, const V& far_v,
                                  V& even, V& odd) {
  const V product = near_u * near_v;
  even = product + far_u * far_v;
  odd = product - far_u * far_v;
}

#ifdef EQUINET_ISA
}  // namespace EQUINET_ISA
#endif
}  // namespace equinet
