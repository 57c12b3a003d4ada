// The compiled products: each kernel one product of two functions, a thread for each column.
//
// What an H200 can do at best (4.8 TB/s; 33.5e12 issue slots of a lane a second), for a column in
// float32, forward: bytes that must move, and slots counted in the machine code for sm_90, of which
// those that multiply and add are some 88 %. Measured on one, with 32 768 functions of 128 channels
// (experiments/gpu/results.json, and kernels.py beside it for those in brackets, launch included).
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
// The counters say why: up to degree 4 memory moves at 78 to 86 % of its peak. Beyond, two or three
// warps a scheduler are too few to issue always: 68 % of the slots at degree 6, 60 % at degree 8.
//
// One channel a thread, not two or four: at degree 2 its 18 loads and 48 warps keep 110 KB on the
// way, and hiding the latency of memory takes about 30 KB. Half precision moves half the bytes in
// the same slots, so only there, at degrees 2 and 3, would pairs of channels pay.
//
// A backward pass is two of these products. One kernel for both would read the output's gradient
// once: 5 instead of 6 functions move (-17 %), and 3 + 2 instead of 4 + 2 transforms are made.
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
    // As many blocks at once as the registers allow, where the cache would take their memory.
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
