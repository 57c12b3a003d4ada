// The bodies of the CUDA kernels on the CPU: loops over blocks and threads in place of a launch.
//
// Shared and scratch memory hold NaN at first, so that a value that no thread has written shows.
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "../../../csrc/sphere_forms/forms_column.h"
#include "../../../csrc/sphere_forms/product_steps.h"

namespace equinet {
namespace {

constexpr int BLOCK_THREADS = 128;

template <class T>
std::vector<T> poisoned(int64_t size) {
  return std::vector<T>(size, std::numeric_limits<T>::quiet_NaN());
}

template <class T, bool IS_BRACKET>
struct SparseLoop {
  const ProductJob& job;

  template <int L1, int L2, int L3>
  void operator()(Degrees<L1, L2, L3>) const {
    for (int64_t block = 0; block * BLOCK_THREADS < job.columns; ++block) {
      for (int thread = 0; thread < BLOCK_THREADS; ++thread) {
        const int64_t index = block * BLOCK_THREADS + thread;
        if (index < job.columns) sparse_column<IS_BRACKET, L1, L2, L3, T>(job, index);
      }
    }
  }
};

template <class T>
struct SampledLoop {
  const ProductJob& job;

  template <int L1, int L2, int L3>
  void operator()(Degrees<L1, L2, L3>) const {
    using Product = SampledProduct<L1, L2, L3, T>;
    const auto tables = ProductTables<L1, L2, L3, T>::make();
    for (int64_t block = 0; block * Product::THREADS < job.columns; ++block) {
      std::vector<T> shared = poisoned<T>(Product::SHARED_SIZE);
      for (int thread = 0; thread < Product::THREADS; ++thread) {
        Product::run(job, tables, block * Product::THREADS + thread, thread, shared.data());
      }
    }
  }
};

struct Call {
  const char* forms;
  std::vector<Operand<void>> functions;
  std::vector<int> lmax;
  std::vector<int> lmax_out;
  void* const* results;
  ScalarType element;
  int64_t batch;
  int64_t channels;
};

template <class T>
void multiply(const Call& call, const std::vector<ProductStep>& steps) {
  for (const ProductStep& step : steps) {
    const Operand<void>&x = call.functions[step.first], &y = call.functions[step.second];
    const ProductJob job{x,          y,
                         call.results[step.output],
                         call.element, step.coefficient,
                         step.adds,    call.channels,
                         call.batch * call.channels};
    const int lmax_out = call.lmax_out[step.output];
    if (!step.is_sparse) {
      with_sampled_degrees<T>(x.lmax, y.lmax, lmax_out, SampledLoop<T>{job});
    } else if (step.is_bracket) {
      with_sparse_degrees<true, T>(x.lmax, y.lmax, lmax_out, SparseLoop<T, true>{job});
    } else {
      with_sparse_degrees<false, T>(x.lmax, y.lmax, lmax_out, SparseLoop<T, false>{job});
    }
  }
}

template <class T>
void interpret(const Call& call) {
  const SpherePlan plan = SpherePlanner(call.forms, call.lmax, call.lmax_out).make_sampled();
  const std::vector<T> polar(plan.polar.begin(), plan.polar.end());
  const std::vector<T> waves(plan.waves.begin(), plan.waves.end());
  const PlanArrays<T> arrays{plan.fields.data(),  plan.terms.data(), plan.outputs.data(),
                             plan.factors.data(), polar.data(),      waves.data()};
  FormsColumnJob<T> job = job_of(plan, arrays, call.functions);
  std::copy_n(call.results, call.lmax_out.size(), job.results);
  job.element = call.element;
  job.channels = call.channels;
  job.columns = call.batch * call.channels;
  constexpr int THREADS = Scratch<T>::THREADS;
  for (int64_t block = 0; block * THREADS < job.columns; ++block) {
    std::vector<T> scratch = poisoned<T>(scratch_size(plan, job) * THREADS);
    for (int thread = 0; thread < THREADS; ++thread) {
      const int64_t index = block * THREADS + thread;
      if (index < job.columns) FormsColumn<T>(job, scratch.data() + thread).run(index);
    }
  }
}

// Returns how many launches there were, 0 for an interpreted plan.
template <class T>
int evaluate(const Call& call, bool interprets) {
  const bool is_half = call.element == ScalarType::Half || call.element == ScalarType::BFloat16;
  std::vector<ProductStep> steps;
  if (!interprets) steps = product_steps<T>(call.forms, call.lmax, call.lmax_out, is_half);
  if (steps.empty()) interpret<T>(call);
  else multiply<T>(call, steps);
  return int(steps.size());
}

}  // namespace
}  // namespace equinet

extern "C" int evaluate(const char* forms, int function_count, const void* const* data,
                        const int64_t* strides, const int* lmax, int output_count,
                        const int* lmax_out, void* const* results, int element, int64_t batch,
                        int64_t channels, int interprets) {
  using namespace equinet;
  Call call{forms,   {}, {lmax, lmax + function_count}, {lmax_out, lmax_out + output_count},
            results, static_cast<ScalarType>(element), batch, channels};
  for (int f = 0; f < function_count; ++f) {
    const int64_t* of = strides + 3 * f;
    call.functions.push_back({data[f], of[0], of[1], of[2], lmax[f]});
  }
  return call.element == ScalarType::Double ? evaluate<double>(call, interprets)
                                            : evaluate<float>(call, interprets);
}
