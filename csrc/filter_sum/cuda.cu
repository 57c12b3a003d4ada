// equinet::filter_sum and equinet::filter_correlation on CUDA: sorting and launches, on torch's
// current stream.
//
// On a grid, a sum has one block of threads for each target, 32 channels and 20 pairs of points:
// the block computes the kernels of 8 edges in shared memory, then adds the edges to sums in
// registers. A correlation has one block for each edge. The work of a thread is in blocks.h.
//
// Expected on an H200 (4.8 TB/s, 67 TFLOP/s in float32, 5.5 TB/s from L2): a sum reads r once,
// E K C numbers, and u once an edge, E P C, mostly from L2, for E P C (K / 2 + 2) multiply-adds.
// With K = 4 and P = 38 that is 4 bytes from L2 for 8 FLOP: bound by L2 at 60 % of the arithmetic.

#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <array>
#include <cstdio>

#include "../common/launch.cuh"
#include "blocks.h"
#include "call.h"

namespace equinet {
namespace {

constexpr int THREADS = 128;

template <int EVEN, int ODD, class T>
__global__ void __launch_bounds__(FILTER_THREADS)
    sum_on_grid(const __grid_constant__ GridSumJob<T> job) {
  using Block = GridSumBlock<EVEN, ODD, T>;
  __shared__ typename Block::Shared shared;
  const int tiles = (job.channels + LANES - 1) / LANES;
  const Block block{job, blockIdx.x, int(blockIdx.y) % tiles * LANES,
                    int(blockIdx.y) / tiles * BLOCK_PAIRS};
  typename Block::Thread own;
  block.start(own);
  const int64_t last = job.starts[block.target + 1];
  for (int64_t begin = job.starts[block.target]; begin < last; begin += EDGES_AT_ONCE) {
    const int64_t end = begin + EDGES_AT_ONCE < last ? begin + EDGES_AT_ONCE : last;
    __syncthreads();
    block.make_kernels(threadIdx.x, begin, end, shared);
    __syncthreads();
    block.add(threadIdx.x, begin, end, shared, own);
  }
  block.finish(threadIdx.x, own);
}

template <int EVEN, int ODD, class T>
__global__ void __launch_bounds__(FILTER_THREADS)
    correlate_on_grid(const __grid_constant__ GridCorrelationJob<T> job) {
  using Block = GridCorrelationBlock<EVEN, ODD, T>;
  __shared__ typename Block::Shared shared;
  for (int pair = 0; pair < job.half; pair += BLOCK_PAIRS) {
    const Block block{job, blockIdx.x, pair};
    typename Block::Thread own;
    block.start(threadIdx.x, own, shared);
    __syncthreads();
    for (int channel = 0; channel < job.channels; channel += LANES) {
      block.correlate(threadIdx.x, channel, own, shared);
      __syncthreads();
      block.write_radial(threadIdx.x, channel, shared);
      __syncthreads();
    }
    if (!job.radial) continue;
    block.share_dots(threadIdx.x, own, shared);
    __syncthreads();
    block.sum_dots(threadIdx.x, shared);
    __syncthreads();
    block.write_harmonics(threadIdx.x, shared);
    __syncthreads();
  }
}

template <class T>
__global__ void __launch_bounds__(THREADS)
    spread(const __grid_constant__ GridSumJob<T> job, int64_t count) {
  const int64_t index = int64_t{blockIdx.x} * THREADS + threadIdx.x;
  if (index < count) sum_to_component(job, index);
}

template <class T>
__global__ void __launch_bounds__(THREADS)
    collect(const __grid_constant__ GridSumJob<T> job, int64_t count) {
  const int64_t index = int64_t{blockIdx.x} * THREADS + threadIdx.x;
  if (index < count) sum_components(job, index);
}

template <class T>
__global__ void __launch_bounds__(THREADS)
    correlate_weights(const __grid_constant__ GridCorrelationJob<T> job, int64_t count) {
  const int64_t index = int64_t{blockIdx.x} * THREADS + threadIdx.x;
  if (index < count) correlate_radial(job, index);
}

template <class T>
__global__ void __launch_bounds__(FILTER_THREADS)
    correlate_components(const __grid_constant__ GridCorrelationJob<T> job) {
  using Block = ComponentBlock<T>;
  __shared__ typename Block::Shared shared;
  const Block block{job, blockIdx.x, int(blockIdx.y) * BLOCK_PAIRS};
  block.correlate(threadIdx.x, shared);
  __syncthreads();
  block.finish(threadIdx.x, shared);
}

// An index out of range stops the program here, as in torch's own kernels.
__global__ void __launch_bounds__(THREADS)
    check_range(const int64_t* index, int64_t count, int64_t size) {
  const int64_t e = int64_t{blockIdx.x} * THREADS + threadIdx.x;
  if (e < count && (index[e] < 0 || index[e] >= size)) {
    printf("equinet::filter_sum: index %lld is %lld, but there are %lld nodes\n",
           static_cast<long long>(e), static_cast<long long>(index[e]),
           static_cast<long long>(size));
    __trap();
  }
}

// starts[i] = number of edges whose target is below i.
__global__ void __launch_bounds__(THREADS)
    find_starts(const int64_t* sorted, int64_t edges, int64_t targets, int64_t* starts) {
  const int64_t e = int64_t{blockIdx.x} * THREADS + threadIdx.x;
  if (e > edges) return;
  const int64_t first = e == 0 ? 0 : sorted[e - 1] + 1, last = e == edges ? targets : sorted[e];
  for (int64_t i = first; i <= last; ++i) starts[i] = e;
}

Tensor checked_index(const Tensor& index, int64_t size, cudaStream_t stream) {
  const Tensor values = torch::stable::contiguous(torch::stable::to(index, ScalarType::Long));
  const int64_t edges = values.size(0);
  if (edges > 0) {
    check_range<<<blocks_for(edges, THREADS), THREADS, 0, stream>>>(data_of<int64_t>(values), edges,
                                                                    size);
    check_cuda(cudaGetLastError());
  }
  return values;
}

// Edges sorted by target; edges with the same target keep their order.
struct SortedEdges {
  Tensor starts, edges;

  SortedEdges(const Tensor& target, int64_t targets, cudaStream_t stream)
      : starts(new_tensor(target, {targets + 1})) {
    std::array<StableIValue, 4> stack{
        torch::stable::detail::from(target), torch::stable::detail::from(std::optional<bool>(true)),
        torch::stable::detail::from(int64_t{0}), torch::stable::detail::from(false)};
    TORCH_ERROR_CODE_CHECK(
        torch_call_dispatcher("aten::sort", "stable", stack.data(), TORCH_ABI_VERSION));
    const auto sorted = torch::stable::detail::to<Tensor>(stack[0]);
    edges = torch::stable::detail::to<Tensor>(stack[1]);
    const int64_t count = target.size(0);
    find_starts<<<blocks_for(count + 1, THREADS), THREADS, 0, stream>>>(
        data_of<int64_t>(sorted), count, targets, static_cast<int64_t*>(starts.mutable_data_ptr()));
    check_cuda(cudaGetLastError());
  }
};

template <class T>
struct SumLaunch {
  const GridSumJob<T>& job;
  unsigned targets;
  cudaStream_t stream;

  template <int EVEN, int ODD>
  void operator()(Terms<EVEN, ODD>) const {
    const unsigned tiles = (job.channels + LANES - 1) / LANES;
    const dim3 grid(targets, tiles * ((job.half + BLOCK_PAIRS - 1) / BLOCK_PAIRS));
    sum_on_grid<EVEN, ODD, T><<<grid, FILTER_THREADS, 0, stream>>>(job);
    check_cuda(cudaGetLastError());
  }
};

template <class T>
struct CorrelationLaunch {
  const GridCorrelationJob<T>& job;
  unsigned edges;
  cudaStream_t stream;

  template <int EVEN, int ODD>
  void operator()(Terms<EVEN, ODD>) const {
    correlate_on_grid<EVEN, ODD, T><<<edges, FILTER_THREADS, 0, stream>>>(job);
    check_cuda(cudaGetLastError());
  }
};

template <class T>
void sum(FilterSumCall& call, const Tensor& source, const SortedEdges& sorted,
         cudaStream_t stream) {
  GridSumJob<T> job = {};
  for (int q = 0; q < call.filters; ++q) {
    job.harmonics[q] = data_of<T>(*call.harmonics[q]);
    job.radial[q] = data_of<T>(*call.radial[q]);
  }
  job.filters = call.filters;
  job.half = int(call.sizes.half);
  job.degrees = int(call.sizes.degrees);
  job.channels = int(call.sizes.channels);
  job.samples = data_of<T>(call.samples);
  job.sums = static_cast<T*>(call.result.mutable_data_ptr());
  job.starts = data_of<int64_t>(sorted.starts);
  job.edges = data_of<int64_t>(sorted.edges);
  job.sources = data_of<int64_t>(source);
  const int64_t count = call.result.numel();
  if (call.table) {
    job.table = data_of<T>(*call.table);
    for_term_blocks(job.filters, job.degrees, MAX_TERMS, [&](const TermBlock& block) {
      job.terms = block;
      with_terms<MAX_TERMS>(block, SumLaunch<T>{job, unsigned(call.result.size(0)), stream});
      job.adds = true;
    });
  } else if (call.spreads()) {
    spread<T><<<blocks_for(count, THREADS), THREADS, 0, stream>>>(job, count);
  } else {
    collect<T><<<blocks_for(count, THREADS), THREADS, 0, stream>>>(job, count);
  }
  check_cuda(cudaGetLastError());
}

template <class T>
void correlate(FilterCorrelationCall& call, const Tensor& source, const Tensor& target,
               cudaStream_t stream) {
  GridCorrelationJob<T> job = {};
  if (call.harmonics) job.harmonics = data_of<T>(*call.harmonics);
  if (call.radial) job.radial = data_of<T>(*call.radial);
  job.half = int(call.sizes.half);
  job.degrees = int(call.sizes.degrees);
  job.channels = int(call.sizes.channels);
  job.u = data_of<T>(call.u);
  job.v = data_of<T>(call.v);
  job.sources = data_of<int64_t>(source);
  job.targets = data_of<int64_t>(target);
  job.by_harmonics = static_cast<T*>(call.by_harmonics.mutable_data_ptr());
  job.by_radial = static_cast<T*>(call.by_radial.mutable_data_ptr());
  const unsigned edges = unsigned(call.sizes.edges);
  if (call.table) {
    job.table = data_of<T>(*call.table);
    for_term_blocks(1, job.degrees, CORRELATED_TERMS, [&](const TermBlock& block) {
      job.terms = block;
      with_terms<CORRELATED_TERMS>(block, CorrelationLaunch<T>{job, edges, stream});
    });
    return;
  }
  if (call.harmonics) {
    const int64_t count = call.by_radial.numel();
    correlate_weights<T><<<blocks_for(count, THREADS), THREADS, 0, stream>>>(job, count);
  }
  if (call.radial) {
    const unsigned tiles = unsigned((call.sizes.components() + BLOCK_PAIRS - 1) / BLOCK_PAIRS);
    correlate_components<T><<<dim3(edges, tiles), FILTER_THREADS, 0, stream>>>(job);
  }
  check_cuda(cudaGetLastError());
}

Tensor filter_sum(const Tensor& harmonics, const Tensor& radial,
                  const OptionalTensor& other_harmonics, const OptionalTensor& other_radial,
                  const Tensor& samples, const OptionalTensor& table, const Tensor& source,
                  const Tensor& target, int64_t targets) {
  const torch::stable::accelerator::DeviceGuard guard(samples.get_device_index());
  FilterSumCall call(harmonics, radial, other_harmonics, other_radial, samples, table, source,
                     target, targets);
  const cudaStream_t stream = current_stream(samples.get_device_index());
  const Tensor sources = checked_index(source, samples.size(0), stream);
  const SortedEdges sorted(checked_index(target, targets, stream), targets, stream);
  if (call.result.numel() == 0) return call.result;
  if (samples.scalar_type() == ScalarType::Float) {
    sum<float>(call, sources, sorted, stream);
  } else {
    sum<double>(call, sources, sorted, stream);
  }
  return call.result;
}

std::tuple<Tensor, Tensor> filter_correlation(const OptionalTensor& harmonics,
                                              const OptionalTensor& radial, const Tensor& u,
                                              const Tensor& v, const OptionalTensor& table,
                                              const Tensor& source, const Tensor& target) {
  const torch::stable::accelerator::DeviceGuard guard(u.get_device_index());
  FilterCorrelationCall call(harmonics, radial, u, v, table, source, target);
  const cudaStream_t stream = current_stream(u.get_device_index());
  const Tensor sources = checked_index(call.source, call.u.size(0), stream);
  const Tensor targets = checked_index(call.target, call.v.size(0), stream);
  if (call.sizes.edges > 0 && call.sizes.channels > 0) {
    if (u.scalar_type() == ScalarType::Float) {
      correlate<float>(call, sources, targets, stream);
    } else {
      correlate<double>(call, sources, targets, stream);
    }
  }
  return {call.by_harmonics, call.by_radial};
}

}  // namespace
}  // namespace equinet

STABLE_TORCH_LIBRARY_IMPL(equinet, CUDA, m) {
  m.impl("filter_sum", TORCH_BOX(&equinet::filter_sum));
  m.impl("filter_correlation", TORCH_BOX(&equinet::filter_correlation));
}
