// Values and weighted slopes of splines at the lengths of edges, for one instruction set.

#include "cpu_kernels.h"

#include "../filter_sum/cpu_vectors.h"

namespace equinet {
namespace EQUINET_ISA {

namespace {

constexpr int TABULATED = 6;  // value, slope and curvature at both ends of an interval
constexpr int GROUPS_AT_ONCE = 4;

// Rows at the ends of the interval of a distance, and the place in the interval. Beyond the last
// knot it is the place of that knot; where the distance is no number, so is the place.
template <class T>
EQUINET_INLINE const T* interval_of(const RadialSplineJob<T>& job, T distance, T& place) {
  const T knot = distance / job.spacing, last = T(job.intervals);
  const T inside = knot > last ? last : knot;
  int64_t interval = inside >= T{1} ? int64_t(inside) : 0;
  if (interval >= job.intervals) interval = job.intervals - 1;
  place = inside - T(interval);
  return job.rows + TABULATED / 2 * interval * job.functions;
}

// Weights of the tabulated numbers in the value at a place t.
template <class T>
EQUINET_INLINE void value_weights(T t, T* w) {
  const T u = t * t * t, a = T{1} - t, b = a * a * a;
  w[0] = b * (T{1} + t * (T{3} + T{6} * t));
  w[1] = b * t * (T{1} + T{3} * t);
  w[2] = T{0.5} * b * t * t;
  w[3] = u * (T{10} + t * (T{6} * t - T{15}));
  w[4] = -u * a * (T{4} - T{3} * t);
  w[5] = T{0.5} * u * a * a;
}

// Their derivatives by the place.
template <class T>
EQUINET_INLINE void slope_weights(T t, T* w) {
  const T a = T{1} - t, s = t * t, b = a * a;
  w[3] = T{30} * s * b;
  w[0] = -w[3];
  w[1] = b * (T{1} + t * (T{2} - T{15} * t));
  w[2] = T{0.5} * b * t * (T{2} - T{5} * t);
  w[4] = s * (t * (T{28} - T{15} * t) - T{12});
  w[5] = T{0.5} * s * a * (T{3} - T{5} * t);
}

}  // namespace

template <class T>
void spline_values(const RadialSplineJob<T>& job, int64_t first, int64_t last) {
  with_width<NATIVE_WIDTH<T>>(job.functions, [&](auto width) {
    constexpr int W = width;
    typedef Vector<T, W> V;
    for (int64_t e = first; e < last; ++e) {
      T place, w[TABULATED];
      const T* rows = interval_of(job, job.distances[e], place);
      value_weights(place, w);
      T* out = job.values + e * job.functions;
      for_group_blocks<W, GROUPS_AT_ONCE>(job.functions, [&](int64_t, int64_t k, auto count) {
        constexpr int GROUPS = count;
        EQUINET_UNROLL
        for (int g = 0; g < GROUPS; ++g) {
          const T* row = rows + k + g * W;
          V sum = w[0] * load<V>(row);
          EQUINET_UNROLL
          for (int i = 1; i < TABULATED; ++i) sum += w[i] * load<V>(row += job.functions);
          store(sum, out + k + g * W);
        }
      });
    }
  });
}

template <class T>
void spline_slopes(const RadialSplineJob<T>& job, int64_t first, int64_t last) {
  with_width<NATIVE_WIDTH<T>>(job.functions, [&](auto width) {
    constexpr int W = width;
    typedef Vector<T, W> V;
    for (int64_t e = first; e < last; ++e) {
      T place, w[TABULATED];
      const T* rows = interval_of(job, job.distances[e], place);
      slope_weights(place, w);
      const T* weights = job.weights + e * job.functions;
      V total = V{};
      for (int64_t group = 0; group < group_count<W>(job.functions); ++group) {
        const int64_t k = group_start<W>(group, job.functions), counted = group * W - k;
        const T* row = rows + k;
        V slope = w[0] * load<V>(row);
        EQUINET_UNROLL
        for (int i = 1; i < TABULATED; ++i) slope += w[i] * load<V>(row += job.functions);
        // Functions that the group before has counted add nothing.
        if (counted > 0) memset(&slope, 0, counted * sizeof(T));
        total += slope * load<V>(weights + k);
      }
      T lanes[W], sum = T{0};
      store(total, lanes);
      for (int i = 0; i < W; ++i) sum += lanes[i];
      job.slopes[e] = sum / job.spacing;
    }
  });
}

#define EQUINET_INSTANTIATE(T)                                                    \
  template void spline_values(const RadialSplineJob<T>&, int64_t, int64_t);       \
  template void spline_slopes(const RadialSplineJob<T>&, int64_t, int64_t);
EQUINET_INSTANTIATE(float)
EQUINET_INSTANTIATE(double)

}  // namespace EQUINET_ISA
}  // namespace equinet
