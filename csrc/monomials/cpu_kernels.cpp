// Sums of weighted monomials in the components of features, for one instruction set.

#include "cpu_kernels.h"

#include "../filter_sum/cpu_vectors.h"

namespace equinet {
namespace EQUINET_ISA {

namespace {

constexpr int GROUPS_AT_ONCE = 4;

template <class F>
EQUINET_INLINE void with_factors(int count, const F& f) {
  switch (count) {
    case 1: return f(Constant<1>{});
    case 2: return f(Constant<2>{});
    case 3: return f(Constant<3>{});
    default: return f(Constant<4>{});
  }
}

// Rows of one node from a channel on, for each factor.
template <int FACTORS, class T>
EQUINET_INLINE void rows_of(const MonomialJob<T>& job, int64_t node, int64_t channel,
                            const T** rows) {
  EQUINET_UNROLL
  for (int f = 0; f < FACTORS; ++f) {
    rows[f] = job.features[f] + node * job.components[f] * job.channels + channel;
  }
}

// sums[i] = sum of all terms whose last column is i.
template <int FACTORS, int W, int GROUPS, class T>
void sum_node(const MonomialJob<T>& job, int64_t node, int64_t channel, Vector<T, W>* sums) {
  typedef Vector<T, W> V;
  const T* rows[FACTORS];
  rows_of<FACTORS>(job, node, channel, rows);
  const T* weight = job.weights + job.kinds[node] * job.terms * job.channels + channel;
  for (int64_t i = 0; i < job.size * GROUPS; ++i) sums[i] = V{};
  const int64_t* entry = job.table;
  // Terms of one component follow one another in most tables, and share a sum in registers.
  int64_t current = job.terms ? entry[FACTORS] : 0;
  V sum[GROUPS] = {};
  for (int64_t t = 0; t < job.terms; ++t, entry += job.columns, weight += job.channels) {
    if (entry[FACTORS] != current) {
      EQUINET_UNROLL
      for (int g = 0; g < GROUPS; ++g) {
        sums[current * GROUPS + g] += sum[g];
        sum[g] = V{};
      }
      current = entry[FACTORS];
    }
    V product[GROUPS];
    EQUINET_UNROLL
    for (int g = 0; g < GROUPS; ++g) product[g] = load<V>(weight + g * W);
    EQUINET_UNROLL
    for (int f = 0; f < FACTORS; ++f) {
      const T* row = rows[f] + entry[f] * job.channels;
      EQUINET_UNROLL
      for (int g = 0; g < GROUPS; ++g) product[g] *= load<V>(row + g * W);
    }
    EQUINET_UNROLL
    for (int g = 0; g < GROUPS; ++g) sum[g] += product[g];
  }
  if (job.terms) {
    EQUINET_UNROLL
    for (int g = 0; g < GROUPS; ++g) sums[current * GROUPS + g] += sum[g];
  }
  T* out = job.result + node * job.size * job.channels + channel;
  for (int64_t i = 0; i < job.size; ++i) {
    EQUINET_UNROLL
    for (int g = 0; g < GROUPS; ++g) store(sums[i * GROUPS + g], out + i * job.channels + g * W);
  }
}

// result[kind, t] += product of the features of one node, for a range of terms. Lanes below
// `counted` belong to the group before.
template <int FACTORS, int W, int GROUPS, class T>
void weigh_node(const MonomialJob<T>& job, int64_t node, int64_t channel, int64_t counted,
                int64_t first, int64_t last) {
  typedef Vector<T, W> V;
  const T* rows[FACTORS];
  rows_of<FACTORS>(job, node, channel, rows);
  T* out = job.result + (job.kinds[node] * job.terms + first) * job.channels + channel;
  const int64_t* entry = job.table + first * job.columns;
  for (int64_t t = first; t < last; ++t, entry += job.columns, out += job.channels) {
    V product[GROUPS];
    EQUINET_UNROLL
    for (int g = 0; g < GROUPS; ++g) product[g] = load<V>(rows[0] + entry[0] * job.channels + g * W);
    EQUINET_UNROLL
    for (int f = 1; f < FACTORS; ++f) {
      const T* row = rows[f] + entry[f] * job.channels;
      EQUINET_UNROLL
      for (int g = 0; g < GROUPS; ++g) product[g] *= load<V>(row + g * W);
    }
    if (counted > 0) memset(&product[0], 0, counted * sizeof(T));
    EQUINET_UNROLL
    for (int g = 0; g < GROUPS; ++g) {
      const V value = load<V>(out + g * W) + product[g];
      store(value, out + g * W);
    }
  }
}

}  // namespace

template <class T>
void sum_monomials(const MonomialJob<T>& job, int64_t first, int64_t last, T* scratch) {
  with_width<NATIVE_WIDTH<T>>(job.channels, [&](auto width) {
    constexpr int W = width;
    auto* sums = reinterpret_cast<Vector<T, W>*>(scratch);
    with_factors(job.factors, [&](auto factors) {
      constexpr int FACTORS = factors;
      for (int64_t node = first; node < last; ++node) {
        for_group_blocks<W, GROUPS_AT_ONCE>(
            job.channels, [&](int64_t, int64_t channel, auto count) {
              constexpr int GROUPS = count;
              sum_node<FACTORS, W, GROUPS>(job, node, channel, sums);
            });
      }
    });
  });
}

template <class T>
void weigh_monomials(const MonomialJob<T>& job, int64_t first, int64_t last, T*) {
  with_width<NATIVE_WIDTH<T>>(job.channels, [&](auto width) {
    constexpr int W = width;
    with_factors(job.factors, [&](auto factors) {
      constexpr int FACTORS = factors;
      for (int64_t node = 0; node < job.nodes; ++node) {
        for_group_blocks<W, GROUPS_AT_ONCE>(
            job.channels, [&](int64_t group, int64_t channel, auto count) {
              constexpr int GROUPS = count;
              weigh_node<FACTORS, W, GROUPS>(job, node, channel, group * W - channel, first, last);
            });
      }
    });
  });
}

#define EQUINET_INSTANTIATE(T)                                                     \
  template void sum_monomials(const MonomialJob<T>&, int64_t, int64_t, T*);        \
  template void weigh_monomials(const MonomialJob<T>&, int64_t, int64_t, T*);
EQUINET_INSTANTIATE(float)
EQUINET_INSTANTIATE(double)

}  // namespace EQUINET_ISA
}  // namespace equinet
