// Sums over the edges that end at a node, on a grid, for one instruction set.
//
// All samples of a node are accumulated in cache in a loop over the edges of the node. The zonal
// kernel of an edge is computed just before it is used.

#include "cpu_vectors.h"

namespace equinet {
namespace EQUINET_ISA {

namespace {

// Contribution of one edge.
template <class T>
struct Edge {
  const T* k;  // [terms, stride]
  int64_t stride;
  const T* radial[MAX_TERMS];
  const T* samples;
  int64_t half, channels;
};

// Samples of a node in vectors, [groups / SIDE, half, 2, SIDE]: both points of a pair are neighbors.
constexpr int SIDE = RESIDENT_VECTORS / 4;

EQUINET_INLINE int64_t position_of(int64_t group, int64_t half) {
  return group / SIDE * half * 2 * SIDE + group % SIDE;
}

// Adds an edge to the sums of a node.
template <int EVEN, int ODD, int W, class T>
void add_edge(const Edge<T>& edge, Vector<T, W>* sums) {
  typedef Vector<T, W> V;
  constexpr int TERMS = EVEN + ODD, AT_ONCE = TERMS <= 4 ? SIDE : SIDE / 2;
  const int64_t channels = edge.channels, half = edge.half, stride = edge.stride;
  for_group_blocks<W, AT_ONCE>(channels, [&](int64_t group, int64_t channel, auto count) {
    constexpr int GROUPS = count;
    V r[GROUPS][TERMS];
    EQUINET_UNROLL
    for (int g = 0; g < GROUPS; ++g) {
      EQUINET_UNROLL
      for (int t = 0; t < TERMS; ++t) r[g][t] = load<V>(edge.radial[t] + channel + g * W);
    }
    const T *k = edge.k, *near = edge.samples + channel, *far = near + half * channels;
    V* sum = sums + position_of(group, half);
    for (int64_t p = 0; p < half; ++p) {
      EQUINET_UNROLL
      for (int g = 0; g < GROUPS; ++g) {
        add_filtered<EVEN, ODD>(k + p, stride, r[g], load<V>(near + g * W), load<V>(far + g * W),
                                sum[g], sum[SIDE + g]);
      }
      sum += 2 * SIDE;
      near += channels;
      far += channels;
    }
  });
}

template <int W, class T>
using AddEdge = void (*)(const Edge<T>&, Vector<T, W>*);

template <int W, class T>
AddEdge<W, T> adder_of(const TermBlock& block) {
  switch (10 * block.even + block.odd) {
    case 10: return add_edge<1, 0, W, T>;
    case 11: return add_edge<1, 1, W, T>;
    case 21: return add_edge<2, 1, W, T>;
    case 20: return add_edge<2, 0, W, T>;
    case 22: return add_edge<2, 2, W, T>;
  }
  if constexpr (W == NATIVE_WIDTH<T>) {
    switch (10 * block.even + block.odd) {
      case 32: return add_edge<3, 2, W, T>;
      case 33: return add_edge<3, 3, W, T>;
      case 42: return add_edge<4, 2, W, T>;
      case 43: return add_edge<4, 3, W, T>;
      case 44: return add_edge<4, 4, W, T>;
    }
  }
  return nullptr;
}

// Adds all edges of a node, one block of terms.
template <int W, class T>
void add_block(const FilterSumJob<T>& job, int64_t node, const TermBlock& block, T* k,
               Vector<T, W>* sums) {
  const int64_t channels = job.channels, degrees = job.degrees, stride = job.table.stride;
  const AddEdge<W, T> add = adder_of<W, T>(block);
  Edge<T> edge = {k, stride, {}, nullptr, job.table.half, channels};
  for (int64_t i = job.starts[node]; i < job.starts[node + 1]; ++i) {
    const int64_t e = job.edges[i];
    if (i + EDGES_AHEAD < job.edge_count) {
      for (int q = 0; q < job.filters; ++q) {
        prefetch(job.radial[q] + job.edges[i + EDGES_AHEAD] * degrees * channels,
                 degrees * channels);
      }
    }
    for (int t = 0; t < block.even + block.odd; ++t) {
      const int q = block.filter[t];
      const int64_t l = block.degree[t];
      zonal_kernel(job.harmonics[q] + e * degrees * degrees, job.table, l, k + t * stride);
      edge.radial[t] = job.radial[q] + (e * degrees + l) * channels;
    }
    edge.samples = job.samples + job.sources[e] * 2 * job.table.half * channels;
    add(edge, sums);
  }
}

template <int W, class T>
void sum_with_width(const FilterSumJob<T>& job, int64_t first, int64_t last, T* scratch) {
  typedef Vector<T, W> V;
  const int64_t half = job.table.half, groups = group_count<W>(job.channels);
  const int64_t vectors = position_of(groups + SIDE - 1, half) / SIDE * SIDE;
  V* sums = reinterpret_cast<V*>(scratch);
  T* k = scratch + vectors * NATIVE_WIDTH<T>;
  constexpr int LIMIT = W == NATIVE_WIDTH<T> ? MAX_TERMS : MAX_TERMS / 2;
  for (int64_t node = first; node < last; ++node) {
    for (int64_t i = 0; i < vectors; ++i) sums[i] = V{};
    for_term_blocks(job.filters, int(job.degrees), LIMIT, [&](const TermBlock& block) {
      add_block<W>(job, node, block, k, sums);
    });
    T* out = job.sums + node * 2 * half * job.channels;
    for (int64_t g = 0; g < groups; ++g) {
      const V* sum = sums + position_of(g, half);
      T* near = out + group_start<W>(g, job.channels);
      for (int64_t p = 0; p < half; ++p, sum += 2 * SIDE, near += job.channels) {
        store(sum[0], near);
        store(sum[SIDE], near + half * job.channels);
      }
    }
  }
}

}  // namespace

template <class T>
void sum_on_grid(const FilterSumJob<T>& job, int64_t first, int64_t last, T* scratch) {
  with_width<NATIVE_WIDTH<T>>(job.channels, [&](auto width) {
    sum_with_width<width>(job, first, last, scratch);
  });
}

template void sum_on_grid(const FilterSumJob<float>&, int64_t, int64_t, float*);
template void sum_on_grid(const FilterSumJob<double>&, int64_t, int64_t, double*);

}  // namespace EQUINET_ISA
}  // namespace equinet
