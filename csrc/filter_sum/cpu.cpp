// equinet::filter_sum and equinet::filter_correlation on the CPU: checks, sorting, threads.

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <stdexcept>
#include <string>
#include <vector>

#include "../common/buffer.h"
#include "cpu.h"
#include "cpu_kernels.h"

namespace equinet {
namespace {

// Least number of multiplications for which it is worth to start a thread.
constexpr int64_t WORK_PER_TASK = 1 << 17;

// Edges sorted by target; edges with the same target keep their order.
struct SortedEdges {
  std::vector<int64_t> starts, edges;

  SortedEdges(const std::vector<int64_t>& target, int64_t targets)
      : starts(targets + 1), edges(target.size()) {
    for (const int64_t each : target) ++starts[each + 1];
    for (int64_t i = 0; i < targets; ++i) starts[i + 1] += starts[i];
    std::vector<int64_t> next(starts.begin(), starts.end() - 1);
    for (int64_t e = 0; e < int64_t(target.size()); ++e) edges[next[target[e]]++] = e;
  }

  // Returns the first node after `work` units of work, of which a node and an edge are one each.
  int64_t node_after(int64_t work) const {
    int64_t low = 0, high = int64_t(starts.size()) - 1;
    while (low < high) {
      const int64_t middle = (low + high) / 2;
      if (starts[middle] + middle < work) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return low;
  }
};

int64_t grain_of(const FilterSizes& sizes) {
  const int64_t work = sizes.points() * (sizes.degrees + 1) * sizes.channels;
  return std::max<int64_t>(1, WORK_PER_TASK / work);
}

// H with points along rows, which are padded with zeros.
template <class T>
struct TransposedTable {
  Buffer<T> values;
  FilterTable<T> table = {nullptr, 0, 0};

  TransposedTable(const OptionalTensor& harmonics, const FilterSizes& sizes) {
    if (!harmonics) return;
    constexpr int64_t widest = WIDEST_VECTOR / sizeof(T);
    const int64_t stride = (sizes.half + widest - 1) / widest * widest;
    values = aligned_buffer<T>(sizes.components() * stride);
    table = {values.get(), stride, sizes.half};
    const T* source = data_of<T>(*harmonics);
    for (int64_t lm = 0; lm < sizes.components(); ++lm) {
      for (int64_t p = 0; p < stride; ++p) {
        values[lm * stride + p] = p < sizes.half ? source[p * sizes.components() + lm] : T{0};
      }
    }
  }
};

template <class T>
void sum(FilterSumCall& call, const std::vector<int64_t>& source, const SortedEdges& sorted) {
  const TransposedTable<T> transposed(call.table, call.sizes);
  FilterSumJob<T> job = {};
  for (int q = 0; q < call.filters; ++q) {
    job.harmonics[q] = data_of<T>(*call.harmonics[q]);
    job.radial[q] = data_of<T>(*call.radial[q]);
  }
  job.filters = call.filters;
  job.table = transposed.table;
  job.degrees = call.sizes.degrees;
  job.channels = call.sizes.channels;
  job.samples = data_of<T>(call.samples);
  job.sums = static_cast<T*>(call.result.mutable_data_ptr());
  job.starts = sorted.starts.data();
  job.edges = sorted.edges.data();
  job.edge_count = call.sizes.edges;
  job.sources = source.data();
  const auto kernel = call.table       ? EQUINET_BEST(sum_on_grid<T>)
                      : call.spreads() ? EQUINET_BEST(sum_to_components<T>)
                                       : EQUINET_BEST(sum_of_components<T>);
  const int64_t size = filter_scratch(job.table, job.degrees, job.channels);
  torch::stable::parallel_for(0, call.sizes.edges + call.result.size(0), grain_of(call.sizes),
                              [&](int64_t begin, int64_t end) {
                                const auto scratch = aligned_buffer<T>(size);
                                kernel(job, sorted.node_after(begin), sorted.node_after(end),
                                       scratch.get());
                              });
}

template <class T>
void correlate(FilterCorrelationCall& call, const std::vector<int64_t>& source,
               const std::vector<int64_t>& target) {
  const TransposedTable<T> transposed(call.table, call.sizes);
  FilterCorrelationJob<T> job = {};
  if (call.harmonics) job.harmonics = data_of<T>(*call.harmonics);
  if (call.radial) job.radial = data_of<T>(*call.radial);
  job.table = transposed.table;
  job.degrees = call.sizes.degrees;
  job.channels = call.sizes.channels;
  job.u = data_of<T>(call.u);
  job.v = data_of<T>(call.v);
  job.sources = source.data();
  job.targets = target.data();
  job.by_harmonics = static_cast<T*>(call.by_harmonics.mutable_data_ptr());
  job.by_radial = static_cast<T*>(call.by_radial.mutable_data_ptr());
  const auto kernel =
      call.table ? EQUINET_BEST(correlate_on_grid<T>) : EQUINET_BEST(correlate_components<T>);
  const int64_t size = filter_scratch(job.table, job.degrees, job.channels);
  torch::stable::parallel_for(0, call.sizes.edges, grain_of(call.sizes),
                              [&](int64_t begin, int64_t end) {
                                const auto scratch = aligned_buffer<T>(size);
                                kernel(job, begin, end, scratch.get());
                              });
}

}  // namespace

std::vector<int64_t> read_index(const char* name, const Tensor& index, int64_t size) {
  const int64_t edges = index.size(0);
  std::vector<int64_t> values(edges);
  const Tensor plain = as_contiguous(index);
  if (plain.scalar_type() == ScalarType::Int) {
    std::copy_n(data_of<int32_t>(plain), edges, values.begin());
  } else {
    std::copy_n(data_of<int64_t>(plain), edges, values.begin());
  }
  for (int64_t e = 0; e < edges; ++e) {
    if (values[e] < 0 || values[e] >= size) {
      throw std::out_of_range(std::string(name) + "[" + std::to_string(e) + "] is " +
                              std::to_string(values[e]) + ", but there are " +
                              std::to_string(size) + " nodes");
    }
  }
  return values;
}

Tensor filter_sum(const Tensor& harmonics, const Tensor& radial,
                  const OptionalTensor& other_harmonics, const OptionalTensor& other_radial,
                  const Tensor& samples, const OptionalTensor& table, const Tensor& source,
                  const Tensor& target, int64_t targets) {
  FilterSumCall call(harmonics, radial, other_harmonics, other_radial, samples, table, source,
                     target, targets);
  const auto sources = read_index("source", source, samples.size(0));
  const SortedEdges sorted(read_index("target", target, targets), targets);
  if (call.result.numel() == 0) return call.result;
  if (samples.scalar_type() == ScalarType::Float) {
    sum<float>(call, sources, sorted);
  } else {
    sum<double>(call, sources, sorted);
  }
  return call.result;
}

std::tuple<Tensor, Tensor> filter_correlation(const OptionalTensor& harmonics,
                                              const OptionalTensor& radial, const Tensor& u,
                                              const Tensor& v, const OptionalTensor& table,
                                              const Tensor& source, const Tensor& target) {
  FilterCorrelationCall call(harmonics, radial, u, v, table, source, target);
  const auto sources = read_index("source", call.source, call.u.size(0));
  const auto targets = read_index("target", call.target, call.v.size(0));
  if (call.sizes.edges > 0 && call.sizes.channels > 0) {
    if (u.scalar_type() == ScalarType::Float) {
      correlate<float>(call, sources, targets);
    } else {
      correlate<double>(call, sources, targets);
    }
  }
  return {call.by_harmonics, call.by_radial};
}

}  // namespace equinet

STABLE_TORCH_LIBRARY_IMPL(equinet, CPU, m) {
  m.impl("filter_sum", TORCH_BOX(&equinet::filter_sum));
  m.impl("filter_correlation", TORCH_BOX(&equinet::filter_correlation));
}
