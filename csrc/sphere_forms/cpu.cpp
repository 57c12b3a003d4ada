// equinet::sphere_forms on the CPU: checks, plans, threads.

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <cstdlib>
#include <memory>
#include <mutex>
#include <new>
#include <unordered_map>

#include "../common/vectors.h"
#include "call.h"
#include "cpu_kernels.h"
#include "plan.h"

namespace equinet {
namespace {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

// Least number of vector operations, about 20 us, for which it is worth to start a thread.
constexpr int64_t COST_PER_TASK = 1 << 16;

// A plan with its tables in both precisions.
struct PreparedPlan {
  SpherePlan plan;
  std::vector<float> polar32, waves32;

  const double* polar(double) const { return plan.polar.data(); }
  const float* polar(float) const { return polar32.data(); }
  const double* waves(double) const { return plan.waves.data(); }
  const float* waves(float) const { return waves32.data(); }
};

void check(const SpherePlan& plan, const std::string& forms) {
  bool is_too_long = plan.fields.size() > MAX_FIELDS || plan.sparse_terms.size() > MAX_SPARSE_TERMS;
  for (const Term& term : plan.terms) is_too_long |= term.factor_count > MAX_FACTORS;
  if (is_too_long) throw std::invalid_argument("forms \"" + forms + "\" are too long");
}

std::shared_ptr<const PreparedPlan> prepare(const std::string& forms, const std::vector<int>& lmax,
                                            const std::vector<int>& lmax_out) {
  static std::mutex mutex;
  static std::unordered_map<std::string, std::shared_ptr<const PreparedPlan>> plans;
  const std::lock_guard<std::mutex> lock(mutex);
  std::shared_ptr<const PreparedPlan>& entry = plans[plan_key(forms, lmax, lmax_out)];
  if (!entry) {
    auto made = std::make_shared<PreparedPlan>();
    made->plan = SpherePlanner(forms, lmax, lmax_out).make();
    check(made->plan, forms);
    made->polar32.assign(made->plan.polar.begin(), made->plan.polar.end());
    made->waves32.assign(made->plan.waves.begin(), made->plan.waves.end());
    entry = made;
  }
  return entry;
}

// Number of vectors of working memory for a thread, see Evaluation.
template <class T>
int64_t scratch_bytes(const FormsJob<T>& job) {
  int64_t vectors = 0;
  for (int i = 0; i < job.function_count; ++i) vectors += components_of(job.functions[i].lmax);
  for (int f = 0; f < job.field_count; ++f) {
    vectors += 2 * (2 * job.fields[f].lmax + 1) + parts_of(job, job.fields[f]);
  }
  for (int o = 0; o < job.output_count; ++o) {
    const int lmax = job.outputs[o].lmax;
    vectors += components_of(lmax) + 2 * (2 * lmax + 1);
  }
  return vectors * WIDEST_VECTOR;
}

// Approximate number of multiplications for a column, by which work is divided among threads.
int64_t cost_of(const SpherePlan& plan) {
  if (!plan.sparse_terms.empty()) return 256 * int64_t(plan.sparse_terms.size());
  const int64_t parts = int64_t{2} * plan.ring_pairs * PARTS * plan.azimuths;
  return parts * 4 * int64_t(plan.fields.size() + plan.outputs.size());
}

template <class T>
void run(const PreparedPlan& prepared, const std::vector<int>& lmax,
         const std::vector<Tensor>& functions, std::vector<Tensor>& results) {
  const SpherePlan& plan = prepared.plan;
  std::vector<Operand<T>> operands;
  for (size_t i = 0; i < functions.size(); ++i) {
    const Tensor& x = functions[i];
    operands.push_back({static_cast<const T*>(x.const_data_ptr()), x.stride(0), x.stride(1),
                        x.stride(2), lmax[i]});
  }
  std::vector<T*> data;
  for (Tensor& z : results) data.push_back(static_cast<T*>(z.mutable_data_ptr()));
  FormsJob<T> job;
  job.functions = operands.data();
  job.results = data.data();
  job.fields = plan.fields.data();
  job.terms = plan.terms.data();
  job.sparse_terms = plan.sparse_terms.data();
  job.outputs = plan.outputs.data();
  job.factors = plan.factors.data();
  job.function_count = int(operands.size());
  job.field_count = int(plan.fields.size());
  job.term_count = int(plan.terms.size());
  job.sparse_term_count = int(plan.sparse_terms.size());
  job.output_count = int(plan.outputs.size());
  job.polar = prepared.polar(T{});
  job.waves = prepared.waves(T{});
  job.wave_stride = plan.wave_stride;
  job.ring_pairs = plan.ring_pairs;
  job.has_equator = plan.has_equator;
  job.azimuths = plan.azimuths;
  job.channels = functions[0].size(2);
  const int64_t columns = functions[0].size(0) * job.channels;
  // Each thread gets whole vectors, for every instruction set.
  constexpr int64_t BLOCK = WIDEST_VECTOR / sizeof(T);
  const int64_t grain = std::max<int64_t>(1, COST_PER_TASK / cost_of(plan));
  const auto kernel = EQUINET_BEST(evaluate_forms<T>);
  const int64_t bytes = scratch_bytes(job);
  torch::stable::parallel_for(
      0, (columns + BLOCK - 1) / BLOCK, grain, [&](int64_t first, int64_t last) {
        const std::align_val_t alignment{WIDEST_VECTOR};
        void* scratch = ::operator new(bytes, alignment);
        kernel(job, first * BLOCK, std::min(last * BLOCK, columns), scratch);
        ::operator delete(scratch, alignment);
      });
}

std::vector<Tensor> sphere_forms(std::vector<Tensor> functions, std::string forms,
                                 std::vector<int64_t> lmax_out) {
  const std::vector<int> lmax = degrees_of(functions);
  const std::vector<int> degrees(lmax_out.begin(), lmax_out.end());
  const auto prepared = prepare(forms, lmax, degrees);
  std::vector<Tensor> results = new_results(functions, degrees);
  if (functions[0].size(0) * functions[0].size(2) == 0) return results;
  if (functions[0].scalar_type() == ScalarType::Float) {
    run<float>(*prepared, lmax, functions, results);
  } else if (functions[0].scalar_type() == ScalarType::Double) {
    run<double>(*prepared, lmax, functions, results);
  } else {
    throw std::invalid_argument("functions must be float32 or float64");
  }
  return results;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(equinet, CPU, m) {
  m.impl("sphere_forms", box_sphere_forms<&sphere_forms>);
}

}  // namespace equinet
