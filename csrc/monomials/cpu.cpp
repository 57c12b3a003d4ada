// equinet::monomial_sum and equinet::monomial_weights on the CPU: checks and threads.

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <initializer_list>
#include <new>
#include <vector>

#include "../filter_sum/call.h"
#include "cpu_kernels.h"

namespace equinet {
namespace {

// Least number of multiplications for which it is worth to start a thread.
constexpr int64_t WORK_PER_TASK = 1 << 17;

// Operands of a call, checked and contiguous.
struct MonomialCall {
  std::vector<Tensor> features;
  Tensor kind, table;
  int64_t nodes, channels, terms, columns;

  MonomialCall(const Tensor& given_kind, std::initializer_list<const OptionalTensor*> given,
               const Tensor& given_table)
      : kind(torch::stable::contiguous(given_kind)), table(torch::stable::contiguous(given_table)) {
    for (const OptionalTensor* each : given) {
      if (*each) features.push_back(torch::stable::contiguous(**each));
    }
    const Tensor& first = features[0];
    check(first.dim() == 3, "features must have shape [nodes, components, channels], found ", first);
    nodes = first.size(0);
    channels = first.size(2);
    check_alike(first, {});
    for (const Tensor& each : features) {
      check_shape("features", each, {nodes, each.size(1), channels});
      check(each.scalar_type() == first.scalar_type(), "features must all be of one type");
    }
    check_shape("kind", kind, {nodes});
    check(kind.scalar_type() == ScalarType::Long, "kind must be int64");
    check(table.dim() == 2 && table.scalar_type() == ScalarType::Long,
          "table must be int64 of shape [terms, columns], found ", table);
    terms = table.size(0);
    columns = table.size(1);
    check(columns >= int64_t(features.size()), "table has too few columns: ", columns);
  }

  // Checks that a column of the table names components below a size.
  void check_column(int64_t column, int64_t size) const {
    const int64_t* entry = data_of<int64_t>(table) + column;
    for (int64_t t = 0; t < terms; ++t, entry += columns) {
      check(*entry >= 0 && *entry < size, "table names the component ", *entry, " of ", size);
    }
  }

  void check_kinds(int64_t kinds) const {
    const int64_t* each = data_of<int64_t>(kind);
    for (int64_t n = 0; n < nodes; ++n) {
      check(each[n] >= 0 && each[n] < kinds, "kind ", each[n], " is not among ", kinds);
    }
  }

  template <class T>
  MonomialJob<T> job() const {
    MonomialJob<T> job = {};
    job.kinds = data_of<int64_t>(kind);
    job.factors = int(features.size());
    for (int f = 0; f < job.factors; ++f) {
      job.features[f] = data_of<T>(features[f]);
      job.components[f] = features[f].size(1);
      check_column(f, job.components[f]);
    }
    job.table = data_of<int64_t>(table);
    job.columns = columns;
    job.terms = terms;
    job.nodes = nodes;
    job.channels = channels;
    return job;
  }

  int64_t grain(int64_t inner) const {
    return std::max<int64_t>(1, WORK_PER_TASK / std::max<int64_t>(1, inner * channels * columns));
  }
};

template <class T, class Kernel>
void run(const MonomialJob<T>& job, int64_t count, int64_t grain, Kernel kernel) {
  const int64_t size = std::max<int64_t>(1, monomial_scratch<T>(job.size));
  torch::stable::parallel_for(0, count, grain, [&](int64_t begin, int64_t end) {
    const std::align_val_t alignment{WIDEST_VECTOR};
    T* scratch = static_cast<T*>(::operator new(size * sizeof(T), alignment));
    kernel(job, begin, end, scratch);
    ::operator delete(scratch, alignment);
  });
}

template <class T>
void sum(const MonomialCall& call, const Tensor& weights, Tensor& result) {
  MonomialJob<T> job = call.job<T>();
  job.weights = data_of<T>(weights);
  job.size = result.size(1);
  job.result = static_cast<T*>(result.mutable_data_ptr());
  call.check_column(job.factors, job.size);
  run(job, call.nodes, call.grain(call.terms), EQUINET_BEST(sum_monomials<T>));
}

template <class T>
void weigh(const MonomialCall& call, Tensor& result) {
  MonomialJob<T> job = call.job<T>();
  job.result = static_cast<T*>(result.mutable_data_ptr());
  run(job, call.terms, call.grain(call.nodes), EQUINET_BEST(weigh_monomials<T>));
}

}  // namespace

Tensor monomial_sum(const Tensor& weights, const Tensor& kind, const Tensor& a,
                    const OptionalTensor& b, const OptionalTensor& c, const Tensor& table,
                    int64_t components) {
  const OptionalTensor first(a);
  const MonomialCall call(kind, {&first, &b, &c}, table);
  check(weights.dim() == 3, "weights must have shape [kinds, terms, channels], found ", weights);
  check_shape("weights", weights, {weights.size(0), call.terms, call.channels});
  check(weights.scalar_type() == a.scalar_type(), "weights must be of the type of the features");
  check(call.columns == int64_t(call.features.size()) + 1, "table has a wrong number of columns");
  call.check_kinds(weights.size(0));
  const Tensor rows = torch::stable::contiguous(weights);
  Tensor result = new_tensor(a, {call.nodes, components, call.channels});
  if (result.numel() == 0) return result;
  if (a.scalar_type() == ScalarType::Float) {
    sum<float>(call, rows, result);
  } else {
    sum<double>(call, rows, result);
  }
  return result;
}

Tensor monomial_weights(const Tensor& kind, const Tensor& a, const OptionalTensor& b,
                        const OptionalTensor& c, const OptionalTensor& d, const Tensor& table,
                        int64_t kinds) {
  const OptionalTensor first(a);
  const MonomialCall call(kind, {&first, &b, &c, &d}, table);
  check(call.columns == int64_t(call.features.size()), "table has a wrong number of columns");
  call.check_kinds(kinds);
  Tensor result = torch::stable::new_zeros(a, {kinds, call.terms, call.channels});
  if (result.numel() == 0 || call.nodes == 0) return result;
  if (a.scalar_type() == ScalarType::Float) {
    weigh<float>(call, result);
  } else {
    weigh<double>(call, result);
  }
  return result;
}

}  // namespace equinet

STABLE_TORCH_LIBRARY_IMPL(equinet, CPU, m) {
  m.impl("monomial_sum", TORCH_BOX(&equinet::monomial_sum));
  m.impl("monomial_weights", TORCH_BOX(&equinet::monomial_weights));
}
