// equinet::radial_spline and equinet::radial_spline_slope on the CPU: checks and threads.

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>

#include "cpu.h"
#include "cpu_kernels.h"

namespace equinet {
namespace {

// Least number of multiplications for which it is worth to start a thread.
constexpr int64_t WORK_PER_TASK = 1 << 17;

// Operands of a call, checked and contiguous.
struct SplineCall {
  Tensor distances, rows;
  double spacing;

  SplineCall(const Tensor& given_distances, const Tensor& given_rows, double given_spacing)
      : distances(as_contiguous(given_distances)),
        rows(as_contiguous(given_rows)),
        spacing(given_spacing) {
    check_shape("distances", distances, {distances.numel()});
    check(rows.dim() == 2 && rows.size(0) >= 6 && rows.size(0) % 3 == 0,
          "rows must have shape [3 (intervals + 1), functions], found ", rows);
    check(spacing > 0, "spacing must be above zero");
    const OptionalTensor other(rows);
    check_alike(distances, {&other});
  }

  template <class T>
  RadialSplineJob<T> job() const {
    RadialSplineJob<T> job = {};
    job.distances = data_of<T>(distances);
    job.rows = data_of<T>(rows);
    job.intervals = rows.size(0) / 3 - 1;
    job.functions = rows.size(1);
    job.spacing = T(spacing);
    return job;
  }

  template <class T>
  void run(const RadialSplineJob<T>& job,
           void (*kernel)(const RadialSplineJob<T>&, int64_t, int64_t)) const {
    if (distances.numel() == 0 || job.functions == 0) return;
    const int64_t grain = std::max<int64_t>(1, WORK_PER_TASK / (6 * job.functions));
    torch::stable::parallel_for(0, distances.numel(), grain, [&](int64_t begin, int64_t end) {
      kernel(job, begin, end);
    });
  }
};

template <class T>
void evaluate(const SplineCall& call, Tensor& values) {
  RadialSplineJob<T> job = call.job<T>();
  job.values = static_cast<T*>(values.mutable_data_ptr());
  call.run(job, EQUINET_BEST(spline_values<T>));
}

template <class T>
void differentiate(const SplineCall& call, const Tensor& weights, Tensor& slopes) {
  RadialSplineJob<T> job = call.job<T>();
  job.weights = data_of<T>(weights);
  job.slopes = static_cast<T*>(slopes.mutable_data_ptr());
  call.run(job, EQUINET_BEST(spline_slopes<T>));
}

}  // namespace

Tensor radial_spline(const Tensor& distances, const Tensor& rows, double spacing) {
  const SplineCall call(distances, rows, spacing);
  Tensor values = new_tensor(rows, {distances.numel(), rows.size(1)});
  if (rows.scalar_type() == ScalarType::Float) {
    evaluate<float>(call, values);
  } else {
    evaluate<double>(call, values);
  }
  return values;
}

Tensor radial_spline_slope(const Tensor& distances, const Tensor& rows, double spacing,
                           const Tensor& weights) {
  const SplineCall call(distances, rows, spacing);
  check_shape("weights", weights, {distances.numel(), rows.size(1)});
  check(weights.scalar_type() == rows.scalar_type(), "weights must be of the type of rows");
  const Tensor plain = as_contiguous(weights);
  Tensor slopes = torch::stable::new_zeros(rows, {distances.numel()});
  if (rows.scalar_type() == ScalarType::Float) {
    differentiate<float>(call, plain, slopes);
  } else {
    differentiate<double>(call, plain, slopes);
  }
  return slopes;
}

}  // namespace equinet

STABLE_TORCH_LIBRARY_IMPL(equinet, CPU, m) {
  m.impl("radial_spline", TORCH_BOX(&equinet::radial_spline));
  m.impl("radial_spline_slope", TORCH_BOX(&equinet::radial_spline_slope));
}
