// Derivatives of the form by the harmonics and the radial weights of each edge, on a grid, for one
// instruction set.
//
// With h = u(source) v(target), folded over the pairs of points, the derivative by r of a term (q,
// l) is the sum over points of k h. The derivative by k is the product of h and r summed over
// channels, which H maps to the derivative by Y.

#include "cpu_vectors.h"

namespace equinet {
namespace EQUINET_ISA {

namespace {

// Number of terms of one pass over the points; sums for radial weights stay in registers.
constexpr int CORRELATED_TERMS = 4;
constexpr int CORRELATED_GROUPS = RESIDENT_VECTORS / CORRELATED_TERMS;

template <class T>
struct Edge {
  const T* k;                      // [terms, stride]
  int64_t stride;
  const T* radial;                 // [groups, terms, W]
  T* by_radial[CORRELATED_TERMS];  // rows [channels]
  const T *u, *v;
  int64_t half, channels;
};

// If DOTS, `dots` [terms, stride] receives the products of h and r, not yet summed over lanes.
template <int EVEN, int ODD, bool DOTS, int W, class T>
void correlate_edge(const Edge<T>& edge, Vector<T, W>* dots) {
  typedef Vector<T, W> V;
  constexpr int TERMS = EVEN + ODD;
  const int64_t channels = edge.channels, half = edge.half, stride = edge.stride;
  for_group_blocks<W, CORRELATED_GROUPS>(channels, [&](int64_t group, int64_t channel, auto count) {
    constexpr int GROUPS = count;
    V by_radial[GROUPS][TERMS];
    EQUINET_UNROLL
    for (int g = 0; g < GROUPS; ++g) {
      EQUINET_UNROLL
      for (int t = 0; t < TERMS; ++t) by_radial[g][t] = V{};
    }
    const T *k = edge.k, *r = edge.radial + group * TERMS * W;
    const T *near_u = edge.u + channel, *near_v = edge.v + channel;
    const T *far_u = near_u + half * channels, *far_v = near_v + half * channels;
    for (int64_t p = 0; p < half; ++p) {
      // Otherwise the compiler keeps the address of each vector of r and runs out of registers.
      asm("" : "+r"(r));
      V dot[TERMS];
      EQUINET_UNROLL
      for (int g = 0; g < GROUPS; ++g) {
        V even, odd;
        fold_products(load<V>(near_u + g * W), load<V>(near_v + g * W), load<V>(far_u + g * W),
                      load<V>(far_v + g * W), even, odd);
        EQUINET_UNROLL
        for (int t = 0; t < TERMS; ++t) {
          const V& h = t < EVEN ? even : odd;
          by_radial[g][t] += k[t * stride + p] * h;
          if constexpr (DOTS) {
            const V product = h * load<V>(r + (g * TERMS + t) * W);
            dot[t] = g == 0 ? product : dot[t] + product;
          }
        }
      }
      if constexpr (DOTS) {
        EQUINET_UNROLL
        for (int t = 0; t < TERMS; ++t) {
          V& sum = dots[t * stride + p];
          sum = group == 0 ? dot[t] : sum + dot[t];
        }
      }
      near_u += channels;
      near_v += channels;
      far_u += channels;
      far_v += channels;
    }
    EQUINET_UNROLL
    for (int t = 0; t < TERMS; ++t) {
      EQUINET_UNROLL
      for (int g = 0; g < GROUPS; ++g) store(by_radial[g][t], edge.by_radial[t] + channel + g * W);
    }
  });
}

template <int W, class T>
using CorrelateEdge = void (*)(const Edge<T>&, Vector<T, W>*);

template <bool DOTS, int W, class T>
CorrelateEdge<W, T> correlator_of(const TermBlock& block) {
  switch (10 * block.even + block.odd) {
    case 10: return correlate_edge<1, 0, DOTS, W, T>;
    case 11: return correlate_edge<1, 1, DOTS, W, T>;
    case 21: return correlate_edge<2, 1, DOTS, W, T>;
    default: return correlate_edge<2, 2, DOTS, W, T>;
  }
}

// Working memory of one task.
template <int W, class T>
struct Workspace {
  T* k;                                   // [terms, stride]
  Vector<T, W>* dots;                     // [terms, stride], zero from `half` on
  T* summed_dots;                         // [terms, stride]
  Vector<T, NATIVE_WIDTH<T>>* projected;  // [components]
  T* by_harmonics;                        // [components]
  T* radial;                              // [groups, terms, W]
  T* by_radial;                           // [channels], used if the result is not requested

  Workspace(const FilterCorrelationJob<T>& job, T* scratch) {
    constexpr int NATIVE = NATIVE_WIDTH<T>, TERMS = CORRELATED_TERMS;
    const int64_t stride = job.table.stride, components = job.degrees * job.degrees;
    Scratch<T> pieces = {scratch};
    k = pieces.take(TERMS * stride);
    dots = pieces.template take_vectors<W>(TERMS * stride);
    summed_dots = pieces.take(TERMS * stride);
    projected = pieces.template take_vectors<NATIVE>(components + NATIVE);
    by_harmonics = pieces.take(components + NATIVE);
    radial = pieces.take(TERMS * group_count<W>(job.channels) * W);
    by_radial = pieces.take(job.channels);
    memset(k, 0, TERMS * stride * sizeof(T));
    memset(dots, 0, TERMS * stride * sizeof(Vector<T, W>));
  }
};

// Rows of radial weights in groups; the last group has only channels that the others lack.
template <int W, class T>
void gather_radial(const T* const* rows, int terms, int64_t channels, T* radial) {
  typedef Vector<T, W> V;
  for (int t = 0; t < terms; ++t) {
    T* group = radial + t * W;
    for (int64_t g = 0; g < group_count<W>(channels); ++g, group += terms * W) {
      const int64_t start = group_start<W>(g, channels), counted = g * W - start;
      store(load<V>(rows[t] + start), group);
      if (counted > 0) memset(group, 0, counted * sizeof(T));
    }
  }
}

// projected[lm] = sum over p of H[lm, p] dots[p] for one degree, not yet summed over lanes.
template <class T>
void project_dots(const FilterTable<T>& table, int64_t degree, const T* dots,
                  Vector<T, NATIVE_WIDTH<T>>* projected) {
  typedef Vector<T, NATIVE_WIDTH<T>> V;
  for (int64_t lm = degree * degree; lm < (degree + 1) * (degree + 1); ++lm) {
    const T* row = table.values + lm * table.stride;
    V sum = load<V>(row) * load<V>(dots);
    for (int64_t p = NATIVE_WIDTH<T>; p < table.stride; p += NATIVE_WIDTH<T>) {
      sum += load<V>(row + p) * load<V>(dots + p);
    }
    projected[lm] = sum;
  }
}

template <bool DOTS, int W, class T>
void correlate_block(const FilterCorrelationJob<T>& job, int64_t e, const TermBlock& block,
                     const Workspace<W, T>& work) {
  const int64_t channels = job.channels, degrees = job.degrees, stride = job.table.stride;
  const int64_t points = 2 * job.table.half;
  const int terms = block.even + block.odd;
  Edge<T> edge = {work.k, stride, work.radial, {}, nullptr, nullptr, job.table.half, channels};
  const T* radial[CORRELATED_TERMS];
  for (int t = 0; t < terms; ++t) {
    const int64_t degree = block.degree[t], row = (e * degrees + degree) * channels;
    if (job.harmonics) {
      zonal_kernel(job.harmonics + e * degrees * degrees, job.table, degree, work.k + t * stride);
    }
    edge.by_radial[t] = job.harmonics ? job.by_radial + row : work.by_radial;
    radial[t] = job.radial + row;
  }
  if constexpr (DOTS) gather_radial<W>(radial, terms, channels, work.radial);
  edge.u = job.u + job.sources[e] * points * channels;
  edge.v = job.v + job.targets[e] * points * channels;
  correlator_of<DOTS, W, T>(block)(edge, work.dots);
  if constexpr (DOTS) {
    sums_of_lanes<T, W>(work.dots, terms * stride, work.summed_dots);
    for (int t = 0; t < terms; ++t) {
      project_dots(job.table, block.degree[t], work.summed_dots + t * stride, work.projected);
    }
  }
}

template <bool DOTS, int W, class T>
void correlate_with_width(const FilterCorrelationJob<T>& job, int64_t first, int64_t last,
                          T* scratch) {
  const int64_t degrees = job.degrees, components = degrees * degrees;
  const Workspace<W, T> work(job, scratch);
  for (int64_t e = first; e < last; ++e) {
    if (DOTS && e + EDGES_AHEAD < last) {
      const int64_t row = degrees * job.channels;
      prefetch(job.radial + (e + EDGES_AHEAD) * row, row);
    }
    for_term_blocks(1, int(degrees), CORRELATED_TERMS, [&](const TermBlock& block) {
      correlate_block<DOTS>(job, e, block, work);
    });
    if constexpr (DOTS) {
      sums_of_lanes<T, NATIVE_WIDTH<T>>(work.projected, components, work.by_harmonics);
      memcpy(job.by_harmonics + e * components, work.by_harmonics, components * sizeof(T));
    }
  }
}

}  // namespace

template <class T>
void correlate_on_grid(const FilterCorrelationJob<T>& job, int64_t first, int64_t last,
                       T* scratch) {
  with_width<NATIVE_WIDTH<T>>(job.channels, [&](auto width) {
    if (job.radial) {
      correlate_with_width<true, width>(job, first, last, scratch);
    } else {
      correlate_with_width<false, width>(job, first, last, scratch);
    }
  });
}

template void correlate_on_grid(const FilterCorrelationJob<float>&, int64_t, int64_t, float*);
template void correlate_on_grid(const FilterCorrelationJob<double>&, int64_t, int64_t, double*);

}  // namespace EQUINET_ISA
}  // namespace equinet
