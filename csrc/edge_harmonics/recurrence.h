// Real spherical harmonics of a unit vector and their gradient, by recurrence.
//
// The polar axis is y. Harmonics of order m are Q_lm(y) times the real or the imaginary part of
// (z + i x)^m, where the polynomials Q follow one another in l:
//   Q_lm = a_lm (y Q_(l-1)m - b_lm Q_(l-2)m).
// Their order, l^2 + l + m, and their signs are those of equinet.o3.spherical_harmonics.
#pragma once

#include <cmath>
#include <vector>

namespace equinet {

// Coefficients up to a degree; index l (l + 1) / 2 + m.
template <class T>
struct HarmonicRecurrence {
  int lmax;
  std::vector<T> a, b, start;  // `start` by order: Q_mm

  explicit HarmonicRecurrence(int lmax)
      : lmax(lmax), a((lmax + 1) * (lmax + 2) / 2), b(a.size()), start(lmax + 1) {
    double sectoral = std::sqrt(1 / (4 * std::acos(-1.0)));
    for (int m = 0; m <= lmax; ++m) {
      if (m > 0) sectoral *= std::sqrt((2.0 * m + 1) / (2.0 * m));
      start[m] = T(m > 0 ? std::sqrt(2.0) * sectoral : sectoral);
      for (int l = m + 1; l <= lmax; ++l) {
        const double up = std::sqrt((4.0 * l * l - 1) / (double(l) * l - double(m) * m));
        const double k = l - 1;
        a[index(l, m)] = T(up);
        b[index(l, m)] = T(std::sqrt((k * k - double(m) * m) / (4 * k * k - 1)));
      }
    }
  }

  static int index(int l, int m) { return l * (l + 1) / 2 + m; }

  // Calls f(l, m, Q_lm, Q'_lm, c_m, s_m, c_(m-1), s_(m-1)) for every degree and order m >= 0, where
  // c_m + i s_m = (z + i x)^m.
  template <class F>
  void for_each(T x, T y, T z, const F& f) const {
    T c = T{1}, s = T{0}, lower_c = T{0}, lower_s = T{0};
    for (int m = 0; m <= lmax; ++m) {
      T q = start[m], slope = T{0}, lower_q = T{0}, lower_slope = T{0};
      for (int l = m; l <= lmax; ++l) {
        if (l > m) {
          const T up = a[index(l, m)], down = b[index(l, m)];
          const T next_q = up * (y * q - down * lower_q);
          const T next_slope = up * (q + y * slope - down * lower_slope);
          lower_q = q;
          lower_slope = slope;
          q = next_q;
          slope = next_slope;
        }
        f(l, m, q, slope, c, s, lower_c, lower_s);
      }
      lower_c = c;
      lower_s = s;
      c = z * lower_c - x * lower_s;
      s = z * lower_s + x * lower_c;
    }
  }

  // Writes the (lmax + 1)^2 harmonics of a unit vector.
  void evaluate(T x, T y, T z, T* harmonics) const {
    for_each(x, y, z, [&](int l, int m, T q, T, T c, T s, T, T) {
      T* middle = harmonics + l * l + l;
      middle[m] = q * c;
      if (m > 0) middle[-m] = q * s;
    });
  }

  // Writes the gradient of the sum of harmonics with weights, as polynomials in x, y and z. Only its
  // part across the vector has a meaning.
  void differentiate(T x, T y, T z, const T* weights, T* gradient) const {
    gradient[0] = gradient[1] = gradient[2] = T{0};
    for_each(x, y, z, [&](int l, int m, T q, T slope, T c, T s, T lower_c, T lower_s) {
      const T* middle = weights + l * l + l;
      const T real = middle[m], imaginary = m > 0 ? middle[-m] : T{0};
      gradient[1] += slope * (real * c + imaginary * s);
      gradient[0] += q * T(m) * (imaginary * lower_c - real * lower_s);
      gradient[2] += q * T(m) * (real * lower_c + imaginary * lower_s);
    });
  }
};

}  // namespace equinet
