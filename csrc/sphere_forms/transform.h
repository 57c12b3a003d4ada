// The separable transform between coefficients on the sphere and values on two rings of latitude.
//
// A function sum_lm x_lm Y_lm is transformed, on a pair of rings mirrored at the equator, into
// Fourier coefficients in the azimuth, and these into values. Both steps are folded. Degrees of
// even and odd l - m are summed separately: the sum of both is the northern, their difference the
// southern ring. Even and odd orders, cosines and sines are summed separately for one azimuth alpha
// in the first quadrant. These four sums are the parts of the function at alpha; they have the four
// combinations of parities under the mirrors alpha -> pi - alpha and alpha -> -alpha. Their sums
// and differences are the samples in the four quadrants, which need not be computed: the parts of
// the product of two functions are sums of products of their parts, in fewer operations.
//
// A value is a vector of channels (CPU) or a single number (CUDA), and T is the type of its
// elements. Each coefficient is one value; lanes of a vector are independent. X (coefficients on
// the sphere) and A (Fourier coefficients in the azimuth) are arrays of values: pointers, or
// objects that are indexed in the same way. LMAX is the degree if it is compiled in, or DYNAMIC.
#pragma once

#include <type_traits>
#include <utility>

#include "../common/inline.h"

namespace equinet {

constexpr int DYNAMIC = -1;
// Parts of a function at an azimuth: even and odd cosines, odd and even sines. The lower bit of the
// number of a part tells whether the part changes sign from alpha to pi - alpha, the upper bit
// whether it does from alpha to -alpha.
constexpr int PARTS = 4;

// Choices of the sampled values: those of a function, or of its slope along meridian or ring.
enum Quantity { VALUE = 0, MERIDIAN_SLOPE = 1, RING_SLOPE = 2 };

#ifdef EQUINET_ISA
namespace EQUINET_ISA {
#endif

template <int M>
struct Order {
  EQUINET_INLINE constexpr operator int() const { return M; }
};

// Calls f(m) for the orders m = M ... lmax; m is a constant expression where LMAX is.
template <int LMAX, int M = 0, class F>
EQUINET_INLINE void for_each_order(int lmax, const F& f) {
  if constexpr (LMAX == DYNAMIC) {
    for (int m = M; m <= lmax; ++m) f(m);
  } else if constexpr (M <= LMAX) {
    f(Order<M>{});
    for_each_order<LMAX, M + 1>(lmax, f);
  }
}

template <class A>
using ValueOf = std::remove_cv_t<std::remove_reference_t<decltype(std::declval<A>()[0])>>;

// Position of the cosine and the sine coefficient of an order m among 2 lmax + 1; sines from m = 1.
EQUINET_INLINE constexpr int cosine_of(int m) { return m == 0 ? 0 : 2 * m - 1; }
EQUINET_INLINE constexpr int sine_of(int m) { return 2 * m; }

// Fourier coefficients of both rings. `polar` holds the polar factors of one ring, m outer, l inner.
template <int LMAX, class X, class T, class A>
EQUINET_INLINE void polar_synthesis(int lmax, X x, const T* polar, A north, A south) {
  using V = ValueOf<A>;
  const int top = LMAX == DYNAMIC ? lmax : LMAX;
  const T* factor = polar;
  for_each_order<LMAX>(lmax, [&](auto order) EQUINET_LAMBDA_INLINE {
    const int m = order;
    V even_cosine = V{}, odd_cosine = V{}, even_sine = V{}, odd_sine = V{};
    EQUINET_UNROLL
    for (int l = m; l <= top; ++l) {
      const T p = *factor++;
      const V cosine = x[l * l + l + m], sine = x[l * l + l - m];
      if ((l - m) % 2 == 0) {
        even_cosine += p * cosine;
        if (m > 0) even_sine += p * sine;
      } else {
        odd_cosine += p * cosine;
        if (m > 0) odd_sine += p * sine;
      }
    }
    north[cosine_of(m)] = even_cosine + odd_cosine;
    south[cosine_of(m)] = even_cosine - odd_cosine;
    if (m > 0) {
      north[sine_of(m)] = even_sine + odd_sine;
      south[sine_of(m)] = even_sine - odd_sine;
    }
  });
}

// Converts the output of polar_synthesis for the factors of a slope into that slope. Derivatives
// along the meridian have the opposite symmetry; derivatives along the ring exchange cosine and
// sine (their factor m is in `polar`).
template <int LMAX, class A>
EQUINET_INLINE void make_slope(int lmax, Quantity quantity, A north, A south) {
  using V = ValueOf<A>;
  if (quantity == VALUE) return;
  for_each_order<LMAX>(lmax, [&](auto order) EQUINET_LAMBDA_INLINE {
    const int m = order;
    if (quantity == MERIDIAN_SLOPE) {
      south[cosine_of(m)] = -south[cosine_of(m)];
      if (m > 0) south[sine_of(m)] = -south[sine_of(m)];
    } else if (m > 0) {
      const V north_cosine = north[cosine_of(m)], south_cosine = south[cosine_of(m)];
      north[cosine_of(m)] = north[sine_of(m)];
      south[cosine_of(m)] = south[sine_of(m)];
      north[sine_of(m)] = -north_cosine;
      south[sine_of(m)] = -south_cosine;
    }
  });
}

// Adds the integral over both rings against the harmonics: the transpose of polar_synthesis.
// `polar` holds the factors times the ring's weight. At the equator `south` is zero.
template <int LMAX, class A, class T, class X>
EQUINET_INLINE void polar_analysis(int lmax, A north, A south, const T* polar, X x) {
  using V = ValueOf<A>;
  const int top = LMAX == DYNAMIC ? lmax : LMAX;
  const T* factor = polar;
  for_each_order<LMAX>(lmax, [&](auto order) EQUINET_LAMBDA_INLINE {
    const int m = order;
    const V even_cosine = north[cosine_of(m)] + south[cosine_of(m)];
    const V odd_cosine = north[cosine_of(m)] - south[cosine_of(m)];
    V even_sine = V{}, odd_sine = V{};
    if (m > 0) {
      even_sine = north[sine_of(m)] + south[sine_of(m)];
      odd_sine = north[sine_of(m)] - south[sine_of(m)];
    }
    EQUINET_UNROLL
    for (int l = m; l <= top; ++l) {
      const T p = *factor++;
      const bool even = (l - m) % 2 == 0;
      x[l * l + l + m] += p * (even ? even_cosine : odd_cosine);
      if (m > 0) x[l * l + l - m] += p * (even ? even_sine : odd_sine);
    }
  });
}

// Parts at one azimuth from Fourier coefficients. `waves` holds cos(m alpha), sin(m alpha) for
// m = 0, 1, ...
template <int LMAX, class A, class T, class V>
EQUINET_INLINE void azimuth_synthesis(int lmax, A a, const T* waves, V* parts) {
  V even_cosine = a[0], odd_cosine = V{}, odd_sine = V{}, even_sine = V{};
  for_each_order<LMAX, 1>(lmax, [&](auto order) EQUINET_LAMBDA_INLINE {
    const int m = order;
    if (m % 2 == 0) {
      even_cosine += waves[2 * m] * a[cosine_of(m)];
      even_sine += waves[2 * m + 1] * a[sine_of(m)];
    } else {
      odd_cosine += waves[2 * m] * a[cosine_of(m)];
      odd_sine += waves[2 * m + 1] * a[sine_of(m)];
    }
  });
  parts[0] = even_cosine;
  parts[1] = odd_cosine;
  parts[2] = odd_sine;
  parts[3] = even_sine;
}

// Parts of a product of two functions. Signs multiply, so that the numbers of the parts are
// combined by exclusive or.
template <class V>
EQUINET_INLINE void multiply_parts(const V* x, const V* y, V* product) {
  EQUINET_UNROLL
  for (int i = 0; i < PARTS; ++i) {
    V sum = x[0] * y[i];
    EQUINET_UNROLL
    for (int j = 1; j < PARTS; ++j) sum += x[j] * y[i ^ j];
    product[i] = sum;
  }
}

// Adds the parts at an azimuth to the Fourier coefficients: the transpose of azimuth_synthesis.
template <int LMAX, class V, class T, class A>
EQUINET_INLINE void azimuth_analysis(int lmax, const V* parts, const T* waves, A a) {
  a[0] += parts[0];
  for_each_order<LMAX, 1>(lmax, [&](auto order) EQUINET_LAMBDA_INLINE {
    const int m = order;
    a[cosine_of(m)] += waves[2 * m] * parts[m % 2 == 0 ? 0 : 1];
    a[sine_of(m)] += waves[2 * m + 1] * parts[m % 2 == 0 ? 3 : 2];
  });
}

#ifdef EQUINET_ISA
}  // namespace EQUINET_ISA
#endif
}  // namespace equinet
