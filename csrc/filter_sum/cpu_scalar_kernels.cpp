// The form where u has one point and H is the identity: features of degree 0, for one instruction
// set. Points are the components lm, and k[lm] = Y[lm] belongs to one degree alone.

#include "cpu_vectors.h"

namespace equinet {
namespace EQUINET_ISA {

namespace {

constexpr int GROUPS_AT_ONCE = RESIDENT_VECTORS / 4;

// sums[lm] = sum over edges and filters of Y[lm] r[l] u.
template <int FILTERS, int W, class T>
void sum_node_to_components(const FilterSumJob<T>& job, int64_t node, Vector<T, W>* sums) {
  typedef Vector<T, W> V;
  const int64_t degrees = job.degrees, components = degrees * degrees, channels = job.channels;
  T* out = job.sums + node * components * channels;
  for_group_blocks<W, GROUPS_AT_ONCE>(channels, [&](int64_t, int64_t channel, auto count) {
    constexpr int GROUPS = count;
    for (int64_t i = 0; i < components * GROUPS; ++i) sums[i] = V{};
    for (int64_t i = job.starts[node]; i < job.starts[node + 1]; ++i) {
      const int64_t e = job.edges[i];
      const T* u = job.samples + job.sources[e] * channels + channel;
      V* sum = sums;
      for (int64_t l = 0; l < degrees; ++l) {
        V product[FILTERS][GROUPS];
        EQUINET_UNROLL
        for (int q = 0; q < FILTERS; ++q) {
          const T* r = job.radial[q] + (e * degrees + l) * channels + channel;
          EQUINET_UNROLL
          for (int g = 0; g < GROUPS; ++g) product[q][g] = load<V>(r + g * W) * load<V>(u + g * W);
        }
        for (int64_t lm = l * l; lm < (l + 1) * (l + 1); ++lm, sum += GROUPS) {
          EQUINET_UNROLL
          for (int q = 0; q < FILTERS; ++q) {
            const T y = job.harmonics[q][e * components + lm];
            EQUINET_UNROLL
            for (int g = 0; g < GROUPS; ++g) sum[g] += y * product[q][g];
          }
        }
      }
    }
    for (int64_t lm = 0; lm < components; ++lm) {
      for (int g = 0; g < GROUPS; ++g) {
        store(sums[lm * GROUPS + g], out + lm * channels + channel + g * W);
      }
    }
  });
}

// sum = sum over edges, filters and degrees of r[l] sum over m of Y[lm] u[lm].
template <int FILTERS, int W, class T>
void sum_node_of_components(const FilterSumJob<T>& job, int64_t node) {
  typedef Vector<T, W> V;
  const int64_t degrees = job.degrees, components = degrees * degrees, channels = job.channels;
  T* out = job.sums + node * channels;
  for_group_blocks<W, GROUPS_AT_ONCE>(channels, [&](int64_t, int64_t channel, auto count) {
    constexpr int GROUPS = count;
    V sum[GROUPS];
    EQUINET_UNROLL
    for (int g = 0; g < GROUPS; ++g) sum[g] = V{};
    for (int64_t i = job.starts[node]; i < job.starts[node + 1]; ++i) {
      const int64_t e = job.edges[i];
      const T* u = job.samples + job.sources[e] * components * channels + channel;
      for (int64_t l = 0; l < degrees; ++l) {
        V part[FILTERS][GROUPS];
        EQUINET_UNROLL
        for (int i = 0; i < FILTERS * GROUPS; ++i) part[i / GROUPS][i % GROUPS] = V{};
        for (int64_t lm = l * l; lm < (l + 1) * (l + 1); ++lm, u += channels) {
          EQUINET_UNROLL
          for (int q = 0; q < FILTERS; ++q) {
            const T y = job.harmonics[q][e * components + lm];
            EQUINET_UNROLL
            for (int g = 0; g < GROUPS; ++g) part[q][g] += y * load<V>(u + g * W);
          }
        }
        EQUINET_UNROLL
        for (int q = 0; q < FILTERS; ++q) {
          const T* r = job.radial[q] + (e * degrees + l) * channels + channel;
          EQUINET_UNROLL
          for (int g = 0; g < GROUPS; ++g) sum[g] += load<V>(r + g * W) * part[q][g];
        }
      }
    }
    for (int g = 0; g < GROUPS; ++g) store(sum[g], out + channel + g * W);
  });
}

// One edge: by_radial[l] = u sum over m of Y[lm] v[lm], dots[lm] = sum over groups of u r[l] v[lm].
template <int W, class T>
void correlate_edge(const FilterCorrelationJob<T>& job, int64_t e, Vector<T, W>* dots) {
  typedef Vector<T, W> V;
  const int64_t degrees = job.degrees, components = degrees * degrees, channels = job.channels;
  for_group_blocks<W, 1>(channels, [&](int64_t group, int64_t channel, auto) {
    const V u = load<V>(job.u + job.sources[e] * channels + channel);
    const T* v = job.v + job.targets[e] * components * channels + channel;
    // Number of channels that the group before has counted; only the last group overlaps.
    const int64_t counted = group * W - channel;
    for (int64_t l = 0; l < degrees; ++l) {
      const int64_t row = (e * degrees + l) * channels + channel;
      V product = job.radial ? u * load<V>(job.radial + row) : V{};
      if (counted > 0) memset(&product, 0, counted * sizeof(T));
      V sum = V{};
      for (int64_t lm = l * l; lm < (l + 1) * (l + 1); ++lm, v += channels) {
        const V value = load<V>(v);
        if (job.harmonics) sum += job.harmonics[e * components + lm] * value;
        if (job.radial) dots[lm] = group == 0 ? product * value : dots[lm] + product * value;
      }
      if (job.harmonics) store(u * sum, job.by_radial + row);
    }
  });
}

}  // namespace

template <class T>
void sum_to_components(const FilterSumJob<T>& job, int64_t first, int64_t last, T* scratch) {
  with_width<NATIVE_WIDTH<T>>(job.channels, [&](auto width) {
    constexpr int W = width;
    auto* sums = reinterpret_cast<Vector<T, W>*>(scratch);
    for (int64_t node = first; node < last; ++node) {
      if (job.filters == 1) {
        sum_node_to_components<1, W>(job, node, sums);
      } else {
        sum_node_to_components<2, W>(job, node, sums);
      }
    }
  });
}

template <class T>
void sum_of_components(const FilterSumJob<T>& job, int64_t first, int64_t last, T*) {
  with_width<NATIVE_WIDTH<T>>(job.channels, [&](auto width) {
    constexpr int W = width;
    for (int64_t node = first; node < last; ++node) {
      if (job.filters == 1) {
        sum_node_of_components<1, W>(job, node);
      } else {
        sum_node_of_components<2, W>(job, node);
      }
    }
  });
}

template <class T>
void correlate_components(const FilterCorrelationJob<T>& job, int64_t first, int64_t last,
                          T* scratch) {
  with_width<NATIVE_WIDTH<T>>(job.channels, [&](auto width) {
    constexpr int W = width;
    const int64_t components = job.degrees * job.degrees;
    Scratch<T> pieces = {scratch};
    auto* dots = pieces.template take_vectors<W>(components + W);
    T* sums = pieces.take(components + W);
    for (int64_t e = first; e < last; ++e) {
      correlate_edge<W>(job, e, dots);
      if (job.radial) {
        sums_of_lanes<T, W>(dots, components, sums);
        memcpy(job.by_harmonics + e * components, sums, components * sizeof(T));
      }
    }
  });
}

#define EQUINET_INSTANTIATE(T)                                                            \
  template void sum_to_components(const FilterSumJob<T>&, int64_t, int64_t, T*);          \
  template void sum_of_components(const FilterSumJob<T>&, int64_t, int64_t, T*);          \
  template void correlate_components(const FilterCorrelationJob<T>&, int64_t, int64_t, T*);
EQUINET_INSTANTIATE(float)
EQUINET_INSTANTIATE(double)

}  // namespace EQUINET_ISA
}  // namespace equinet
