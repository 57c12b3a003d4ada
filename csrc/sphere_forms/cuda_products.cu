// The compiled products: each kernel computes one product of two functions, with one thread for
// each column.
//
// Limits of an H200 (4.8 TB/s; 33.5e12 issue slots of a lane a second) for the forward product of
// one column in float32: bytes that must be moved, and issue slots counted in the machine code for
// sm_90, of which about 88 % are multiply-adds. Measured on an H200 with 32 768 functions of 128
// channels (experiments/gpu/results.json; times in brackets are from kernels.py beside it and
// include the launch).
//
//   degrees          kernel   registers  warps/SM  bytes  memory    slots  issue    bound  measured
//   (2, 2, 2)        sparse          40        48    108   22 ps      320   10 ps   22 ps     28 ps
//   (3, 3, 3)        sparse          64        32    192   40 ps      840   25 ps   40 ps     50 ps
//   (4, 4, 4)        sparse          95        20    300   62 ps    2 170   65 ps   65 ps     83 ps
//   (5, 5, 5)        samples        128        16    432   90 ps    3 160   94 ps   94 ps    158 ps
//   (6, 6, 6)        samples        167        12    588  122 ps    5 350  160 ps  160 ps    257 ps
//   (7, 7, 7)        samples        254         8    768  160 ps    7 860  235 ps  235 ps    410 ps
//   (8, 8, 8)        samples        255         8    972  202 ps   11 230  335 ps  335 ps    665 ps
//   (2, 2, 4)        samples         71        24    172   36 ps    1 200   36 ps   36 ps    (61 ps)
//   (3, 3, 6)        samples        128        16    324   68 ps    2 540   76 ps   76 ps   (122 ps)
//   (4, 4, 8)        samples        198         8    524  109 ps    4 690  140 ps  140 ps   (269 ps)
//
// Counters of the hardware: up to degree 4 memory moves at 78 to 86 % of its peak. Above, two or
// three warps for each scheduler are too few to use all issue slots: 68 % are used at degree 6, 60
// % at degree 8.
//
// A thread has one channel, not two or four: at degree 2 the 18 loads of each thread and 48 warps
// keep 110 KB in flight, and about 30 KB hide the latency of memory. Half precision moves half the
// bytes in the same number of slots; only there, at degrees 2 and 3, would pairs of channels be
// faster.
//
// A backward pass is two of these products. One kernel for both would read the gradient of the
// output once: it would move 5 instead of 6 functions (-17 %) and compute 3 + 2 instead of 4 + 2
// transforms.
#include "cuda_products.cuh"

#include "../common/launch.cuh"

namespace equinet {
namespace {

template <bool IS_BRACKET, int L1, int L2, int L3, class T>
__global__ void __launch_bounds__(BLOCK_THREADS)
    multiply_sparse(const __grid_constant__ ProductJob job) {
  const int64_t index = int64_t{blockIdx.x} * BLOCK_THREADS + threadIdx.x;
  if (index < job.columns) sparse_column<IS_BRACKET, L1, L2, L3, T>(job, index);
}

template <int L1, int L2, int L3, class T>
__global__ void __launch_bounds__(SampledProduct<L1, L2, L3, T>::THREADS)
    multiply_samples(const __grid_constant__ ProductJob job,
                     const __grid_constant__ ProductTables<L1, L2, L3, T> tables) {
  using Product = SampledProduct<L1, L2, L3, T>;
  __shared__ __align__(16) T shared[Product::SHARED_SIZE];
  const int64_t index = int64_t{blockIdx.x} * Product::THREADS + threadIdx.x;
  Product::run(job, tables, index, threadIdx.x, shared);
}

template <class T, bool IS_BRACKET>
struct SparseLaunch {
  const ProductJob& job;
  cudaStream_t stream;

  template <int L1, int L2, int L3>
  void operator()(Degrees<L1, L2, L3>) const {
    multiply_sparse<IS_BRACKET, L1, L2, L3, T>
        <<<blocks_for(job.columns, BLOCK_THREADS), BLOCK_THREADS, 0, stream>>>(job);
  }
};

template <class T>
struct SampledLaunch {
  const ProductJob& job;
  cudaStream_t stream;

  template <int L1, int L2, int L3>
  void operator()(Degrees<L1, L2, L3>) const {
    static const ProductTables<L1, L2, L3, T> tables = ProductTables<L1, L2, L3, T>::make();
    constexpr int THREADS = SampledProduct<L1, L2, L3, T>::THREADS;
    const auto kernel = multiply_samples<L1, L2, L3, T>;
    // Shared memory is preferred to cache, so that the registers alone limit the number of blocks.
    check_cuda(cudaFuncSetAttribute(kernel, cudaFuncAttributePreferredSharedMemoryCarveout,
                                    cudaSharedmemCarveoutMaxShared));
    kernel<<<blocks_for(job.columns, THREADS), THREADS, 0, stream>>>(job, tables);
  }
};

}  // namespace

template <class T>
void launch_product(const ProductStep& step, const ProductJob& job, int lmax_out,
                    cudaStream_t stream) {
  const int l1 = job.first.lmax, l2 = job.second.lmax;
  if (!step.is_sparse) {
    with_sampled_degrees<T>(l1, l2, lmax_out, SampledLaunch<T>{job, stream});
  } else if (step.is_bracket) {
    with_sparse_degrees<true, T>(l1, l2, lmax_out, SparseLaunch<T, true>{job, stream});
  } else {
    with_sparse_degrees<false, T>(l1, l2, lmax_out, SparseLaunch<T, false>{job, stream});
  }
  check_cuda(cudaGetLastError());
}

template void launch_product<float>(const ProductStep&, const ProductJob&, int, cudaStream_t);
template void launch_product<double>(const ProductStep&, const ProductJob&, int, cudaStream_t);

}  // namespace equinet
