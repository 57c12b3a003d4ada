// equinet::sphere_forms on CUDA: checks, plans and launches, on torch's current stream.
//
// Each term of two functions whose degrees are compiled in is one launch (cuda_products.cu); all
// other forms are interpreted by one kernel. Each thread owns one column. Sums have a fixed order,
// so results are the same on every run.

#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <memory>
#include <mutex>
#include <unordered_map>

#include "../common/launch.cuh"
#include "call.h"
#include "cuda_products.cuh"
#include "forms_column.h"

namespace equinet {
namespace {

using torch::stable::Tensor;

// Largest scratch memory of an interpreted plan that does not fit into shared memory.
constexpr int64_t WORKSPACE_BYTES = int64_t{256} << 20;
constexpr int64_t BLOCKS_PER_PROCESSOR = 16;

// With one block as the minimum a thread gets more registers; scratch memory limits the blocks.
template <class T>
__global__ void __launch_bounds__(Scratch<T>::THREADS, 1)
    interpret_in_shared_memory(const __grid_constant__ FormsColumnJob<T> job) {
  extern __shared__ __align__(16) unsigned char shared[];
  const FormsColumn<T> forms(job, reinterpret_cast<T*>(shared) + threadIdx.x);
  const int64_t index = int64_t{blockIdx.x} * Scratch<T>::THREADS + threadIdx.x;
  if (index < job.columns) forms.run(index);
}

template <class T>
__global__ void __launch_bounds__(Scratch<T>::THREADS, 1)
    interpret_in_workspace(const __grid_constant__ FormsColumnJob<T> job, T* workspace,
                           int64_t scratch) {
  constexpr int THREADS = Scratch<T>::THREADS;
  const FormsColumn<T> forms(job, workspace + blockIdx.x * scratch * THREADS + threadIdx.x);
  const int64_t step = int64_t{gridDim.x} * THREADS;
  for (int64_t index = int64_t{blockIdx.x} * THREADS + threadIdx.x; index < job.columns;
       index += step) {
    forms.run(index);
  }
}

// Arrays that are copied to the current device together and stay there until the process ends.
class Upload {
 public:
  // Returns the offset at which the array will begin.
  template <class E>
  size_t add(const std::vector<E>& array) {
    const size_t begin = (bytes_.size() + 15) / 16 * 16;
    bytes_.resize(begin + array.size() * sizeof(E));
    std::copy_n(reinterpret_cast<const char*>(array.data()), array.size() * sizeof(E),
                bytes_.begin() + begin);
    return begin;
  }

  // The copy needs its own stream: the current one may be recording a graph instead of running.
  const char* copy() const {
    cudaStreamCaptureMode mode = cudaStreamCaptureModeRelaxed;
    check_cuda(cudaThreadExchangeStreamCaptureMode(&mode));
    char* memory = nullptr;
    cudaStream_t stream = nullptr;
    cudaError_t error = cudaMalloc(&memory, std::max<size_t>(1, bytes_.size()));
    if (!error) error = cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
    if (!error) {
      error = cudaMemcpyAsync(memory, bytes_.data(), bytes_.size(), cudaMemcpyHostToDevice, stream);
    }
    if (!error) error = cudaStreamSynchronize(stream);
    if (stream) cudaStreamDestroy(stream);
    cudaThreadExchangeStreamCaptureMode(&mode);
    check_cuda(error);
    return memory;
  }

 private:
  std::vector<char> bytes_;
};

// Evaluation of forms: by steps, or by interpretation of a plan if there are none.
template <class T>
struct PreparedForms {
  std::vector<ProductStep> steps;
  SpherePlan plan;
  PlanArrays<T> arrays{};  // on the device
};

template <class T>
PlanArrays<T> upload(const SpherePlan& plan) {
  Upload upload;
  const size_t fields = upload.add(plan.fields), terms = upload.add(plan.terms);
  const size_t outputs = upload.add(plan.outputs), factors = upload.add(plan.factors);
  const size_t polar = upload.add(std::vector<T>(plan.polar.begin(), plan.polar.end()));
  const size_t waves = upload.add(std::vector<T>(plan.waves.begin(), plan.waves.end()));
  const char* const memory = upload.copy();
  return {reinterpret_cast<const Field*>(memory + fields),
          reinterpret_cast<const Term*>(memory + terms),
          reinterpret_cast<const Output*>(memory + outputs),
          reinterpret_cast<const int*>(memory + factors),
          reinterpret_cast<const T*>(memory + polar),
          reinterpret_cast<const T*>(memory + waves)};
}

template <class T>
std::shared_ptr<const PreparedForms<T>> prepare(const std::string& forms,
                                                const std::vector<int>& lmax,
                                                const std::vector<int>& lmax_out, bool is_half,
                                                int device) {
  static std::mutex mutex;
  static std::unordered_map<std::string, std::shared_ptr<const PreparedForms<T>>> known;
  const std::string key =
      plan_key(forms, lmax, lmax_out) + (is_half ? " half " : " ") + std::to_string(device);
  const std::lock_guard<std::mutex> lock(mutex);
  std::shared_ptr<const PreparedForms<T>>& entry = known[key];
  if (!entry) {
    if (lmax.size() > MAX_FUNCTIONS || lmax_out.size() > MAX_OUTPUTS) {
      throw std::invalid_argument("forms \"" + forms + "\" are too long");
    }
    SpherePlanner planner(forms, lmax, lmax_out);
    auto made = std::make_shared<PreparedForms<T>>();
    made->steps = product_steps<T>(forms, lmax, lmax_out, is_half);
    if (made->steps.empty()) {
      made->plan = planner.make_sampled();
      made->arrays = upload<T>(made->plan);
    }
    entry = made;
  }
  return entry;
}

Operand<void> operand_of(const Tensor& x, int lmax) {
  return {x.const_data_ptr(), x.stride(0), x.stride(1), x.stride(2), lmax};
}

template <class T>
void interpret(const PreparedForms<T>& prepared, const std::vector<int>& lmax,
               const std::vector<Tensor>& functions, const std::vector<Tensor>& results, int device,
               cudaStream_t stream) {
  constexpr int THREADS = Scratch<T>::THREADS;
  std::vector<Operand<void>> operands;
  for (size_t f = 0; f < functions.size(); ++f) {
    operands.push_back(operand_of(functions[f], lmax[f]));
  }
  FormsColumnJob<T> job = job_of(prepared.plan, prepared.arrays, operands);
  for (size_t o = 0; o < results.size(); ++o) job.results[o] = results[o].mutable_data_ptr();
  job.element = functions[0].scalar_type();
  job.channels = functions[0].size(2);
  job.columns = functions[0].size(0) * job.channels;
  const int64_t scratch = scratch_size(prepared.plan, job);
  const int64_t bytes = scratch * THREADS * int64_t{sizeof(T)};
  const unsigned blocks = blocks_for(job.columns, THREADS);
  int most = 0, processors = 0;
  check_cuda(cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, device));
  check_cuda(cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device));
  if (bytes <= most) {
    const auto kernel = interpret_in_shared_memory<T>;
    check_cuda(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, most));
    kernel<<<blocks, THREADS, bytes, stream>>>(job);
  } else {
    const int64_t affordable = std::max<int64_t>(1, WORKSPACE_BYTES / bytes);
    const int64_t used = std::min({int64_t{blocks}, affordable, processors * BLOCKS_PER_PROCESSOR});
    const int64_t elements = used * bytes / int64_t(functions[0].element_size());
    const Tensor workspace = new_tensor(functions[0], {elements});
    interpret_in_workspace<T><<<unsigned(used), THREADS, 0, stream>>>(
        job, static_cast<T*>(workspace.mutable_data_ptr()), scratch);
  }
  check_cuda(cudaGetLastError());
}

template <class T>
void run(const std::string& forms, const std::vector<int>& lmax, const std::vector<int>& lmax_out,
         const std::vector<Tensor>& functions, const std::vector<Tensor>& results) {
  const int device = functions[0].get_device_index();
  const torch::stable::accelerator::DeviceGuard guard(device);
  const cudaStream_t stream = current_stream(device);
  const ScalarType element = functions[0].scalar_type();
  const bool is_half = element == ScalarType::Half || element == ScalarType::BFloat16;
  const auto prepared = prepare<T>(forms, lmax, lmax_out, is_half, device);
  if (prepared->steps.empty()) {
    interpret(*prepared, lmax, functions, results, device, stream);
    return;
  }
  for (const ProductStep& step : prepared->steps) {
    ProductJob job;
    job.first = operand_of(functions[step.first], lmax[step.first]);
    job.second = operand_of(functions[step.second], lmax[step.second]);
    job.result = results[step.output].mutable_data_ptr();
    job.element = element;
    job.coefficient = step.coefficient;
    job.adds = step.adds;
    job.channels = functions[0].size(2);
    job.columns = functions[0].size(0) * job.channels;
    launch_product<T>(step, job, lmax_out[step.output], stream);
  }
}

std::vector<Tensor> sphere_forms(std::vector<Tensor> functions, std::string forms,
                                 std::vector<int64_t> lmax_out) {
  const std::vector<int> lmax = degrees_of(functions);
  const std::vector<int> degrees(lmax_out.begin(), lmax_out.end());
  std::vector<Tensor> results = new_results(functions, degrees);
  if (functions[0].size(0) * functions[0].size(2) == 0) return results;
  switch (functions[0].scalar_type()) {
    case ScalarType::Float:
    case ScalarType::Half:
    case ScalarType::BFloat16:
      run<float>(forms, lmax, degrees, functions, results);
      return results;
    case ScalarType::Double:
      run<double>(forms, lmax, degrees, functions, results);
      return results;
    default:
      throw std::invalid_argument("functions must be float16, bfloat16, float32 or float64");
  }
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(equinet, CUDA, m) {
  m.impl("sphere_forms", box_sphere_forms<&sphere_forms>);
}

}  // namespace equinet
