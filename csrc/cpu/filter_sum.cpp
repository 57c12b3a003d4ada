// equinet::filter_sum and equinet::filter_correlation on the CPU: checks, sorting, threads.

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "filter_sum_kernels.h"

namespace equinet {
namespace {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

constexpr int64_t WIDEST_VECTOR = 64;  // bytes
// Multiplications that a thread should at least have, so that starting it pays.
constexpr int64_t WORK_PER_TASK = 1 << 17;

struct Free {
  void operator()(void* memory) const { std::free(memory); }
};
template <class T>
using Buffer = std::unique_ptr<T[], Free>;

template <class T>
Buffer<T> aligned_buffer(int64_t count) {
  const int64_t bytes = (count * int64_t(sizeof(T)) / WIDEST_VECTOR + 1) * WIDEST_VECTOR;
  void* memory = std::aligned_alloc(WIDEST_VECTOR, bytes);
  if (memory == nullptr) throw std::bad_alloc();
  return Buffer<T>(static_cast<T*>(memory));
}

std::string shape_of(const Tensor& x) {
  std::string text = "[";
  for (int64_t i = 0; i < x.dim(); ++i) text += (i ? ", " : "") + std::to_string(x.size(i));
  return text + "]";
}

void check(bool holds, const std::string& message) {
  if (!holds) throw std::invalid_argument("equinet::" + message);
}

void check_shape(const char* name, const Tensor& x, std::vector<int64_t> shape) {
  bool fits = x.dim() == int64_t(shape.size());
  std::string wanted;
  for (int64_t i = 0; i < int64_t(shape.size()); ++i) {
    fits = fits && x.size(i) == shape[i];
    wanted += (i ? ", " : "") + std::to_string(shape[i]);
  }
  check(fits, std::string(name) + " must have shape [" + wanted + "], found " + shape_of(x));
}

// Sizes that all operands of a call share.
struct Sizes {
  int64_t edges, degrees, channels, half;  // half = 0: no table
  int64_t components() const { return degrees * degrees; }
  int64_t points() const { return half ? 2 * half : components(); }
};

template <class T>
const T* data_of(const Tensor& x) {
  return static_cast<const T*>(x.const_data_ptr());
}

// Reads an index and refuses what lies outside of 0 <= i < size.
std::vector<int64_t> checked_index(const char* name, const Tensor& index, int64_t edges,
                                   int64_t size) {
  check_shape(name, index, {edges});
  std::vector<int64_t> values(edges);
  const Tensor contiguous = torch::stable::contiguous(index);
  if (contiguous.scalar_type() == ScalarType::Int) {
    std::copy_n(data_of<int32_t>(contiguous), edges, values.begin());
  } else {
    check(contiguous.scalar_type() == ScalarType::Long,
          std::string(name) + " must be of type int32 or int64");
    std::copy_n(data_of<int64_t>(contiguous), edges, values.begin());
  }
  for (int64_t e = 0; e < edges; ++e) {
    if (values[e] < 0 || values[e] >= size) {
      throw std::out_of_range("equinet::" + std::string(name) + "[" + std::to_string(e) + "] is " +
                              std::to_string(values[e]) + ", but there are " +
                              std::to_string(size) + " nodes");
    }
  }
  return values;
}

// Edges in the order of their targets; those of one target keep their order.
struct SortedEdges {
  std::vector<int64_t> starts, edges;

  SortedEdges(const std::vector<int64_t>& target, int64_t targets)
      : starts(targets + 1), edges(target.size()) {
    for (const int64_t each : target) ++starts[each + 1];
    for (int64_t i = 0; i < targets; ++i) starts[i + 1] += starts[i];
    std::vector<int64_t> next(starts.begin(), starts.end() - 1);
    for (int64_t e = 0; e < int64_t(target.size()); ++e) edges[next[target[e]]++] = e;
  }

  // The first node whose edges come after the first `work` units; a node and an edge are one each.
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

int64_t grain_of(const Sizes& sizes) {
  const int64_t work = sizes.points() * (sizes.degrees + 1) * sizes.channels;
  return std::max<int64_t>(1, WORK_PER_TASK / work);
}

// H with its points along rows, which end with zeros.
template <class T>
struct TransposedTable {
  Buffer<T> values;
  FilterTable<T> table = {nullptr, 0, 0};

  TransposedTable(const std::optional<Tensor>& harmonics, const Sizes& sizes) {
    if (!harmonics) return;
    constexpr int64_t widest = WIDEST_VECTOR / sizeof(T);
    const int64_t stride = (sizes.half + widest - 1) / widest * widest;
    values = aligned_buffer<T>(sizes.components() * stride);
    table = {values.get(), stride, sizes.half};
    const Tensor contiguous = torch::stable::contiguous(*harmonics);
    const T* source = data_of<T>(contiguous);
    for (int64_t lm = 0; lm < sizes.components(); ++lm) {
      for (int64_t p = 0; p < stride; ++p) {
        values[lm * stride + p] = p < sizes.half ? source[p * sizes.components() + lm] : T{0};
      }
    }
  }
};

template <class T>
void sum(const Sizes& sizes, const Tensor* harmonics, const Tensor* radial, int filters,
         const Tensor& samples, const std::optional<Tensor>& table,
         const std::vector<int64_t>& source, const SortedEdges& sorted, Tensor& result) {
  const TransposedTable<T> transposed(table, sizes);
  FilterSumJob<T> job = {};
  for (int q = 0; q < filters; ++q) {
    job.harmonics[q] = data_of<T>(harmonics[q]);
    job.radial[q] = data_of<T>(radial[q]);
  }
  job.filters = filters;
  job.table = transposed.table;
  job.degrees = sizes.degrees;
  job.channels = sizes.channels;
  job.samples = data_of<T>(samples);
  job.sums = static_cast<T*>(result.mutable_data_ptr());
  job.starts = sorted.starts.data();
  job.edges = sorted.edges.data();
  job.edge_count = sizes.edges;
  job.sources = source.data();
  const auto kernel = table                ? EQUINET_BEST(sum_on_grid<T>)
                      : samples.size(1) == 1 ? EQUINET_BEST(sum_to_components<T>)
                                             : EQUINET_BEST(sum_of_components<T>);
  torch::stable::parallel_for(
      0, sizes.edges + result.size(0), grain_of(sizes), [&](int64_t begin, int64_t end) {
        const auto scratch = aligned_buffer<T>(filter_scratch(job.table, job.degrees, job.channels));
        kernel(job, sorted.node_after(begin), sorted.node_after(end), scratch.get());
      });
}

template <class T>
void correlate(const Sizes& sizes, const std::optional<Tensor>& harmonics,
               const std::optional<Tensor>& radial, const Tensor& u, const Tensor& v,
               const std::optional<Tensor>& table, const std::vector<int64_t>& source,
               const std::vector<int64_t>& target, Tensor& by_harmonics, Tensor& by_radial) {
  const TransposedTable<T> transposed(table, sizes);
  FilterCorrelationJob<T> job = {};
  if (harmonics) job.harmonics = data_of<T>(*harmonics);
  if (radial) job.radial = data_of<T>(*radial);
  job.table = transposed.table;
  job.degrees = sizes.degrees;
  job.channels = sizes.channels;
  job.u = data_of<T>(u);
  job.v = data_of<T>(v);
  job.sources = source.data();
  job.targets = target.data();
  job.by_harmonics = static_cast<T*>(by_harmonics.mutable_data_ptr());
  job.by_radial = static_cast<T*>(by_radial.mutable_data_ptr());
  const auto kernel =
      table ? EQUINET_BEST(correlate_on_grid<T>) : EQUINET_BEST(correlate_components<T>);
  torch::stable::parallel_for(
      0, sizes.edges, grain_of(sizes), [&](int64_t begin, int64_t end) {
        const auto scratch = aligned_buffer<T>(filter_scratch(job.table, job.degrees, job.channels));
        kernel(job, begin, end, scratch.get());
      });
}

int64_t root_of(const char* name, const Tensor& harmonics) {
  check(harmonics.dim() == 2, std::string(name) + " must have shape [E, degrees^2], found " +
                                  shape_of(harmonics));
  const int64_t degrees = std::llround(std::sqrt(double(harmonics.size(1))));
  check(degrees > 0 && degrees * degrees == harmonics.size(1),
        std::string(name) + " must have shape [E, degrees^2], found " + shape_of(harmonics));
  return degrees;
}

void check_samples(const char* name, const Tensor& x, int64_t points, int64_t channels) {
  check(x.dim() == 3, std::string(name) + " must have three dimensions, found " + shape_of(x));
  check_shape(name, x, {x.size(0), points, channels});
}

int64_t half_of(const std::optional<Tensor>& table, int64_t components) {
  if (!table) return 0;
  check(table->dim() == 2 && table->size(0) > 0 && table->size(1) == components,
        "table must have shape [points / 2, " + std::to_string(components) + "], found " +
            shape_of(*table));
  return table->size(0);
}

void check_types(const Tensor& first, std::initializer_list<const Tensor*> others) {
  const ScalarType type = first.scalar_type();
  check(type == ScalarType::Float || type == ScalarType::Double,
        "operands must be of type float32 or float64");
  for (const Tensor* each : others) {
    check(each->scalar_type() == type, "operands must all be of the same type");
  }
}

const Tensor* pointer(const std::optional<Tensor>& x, const Tensor& otherwise) {
  return x ? &*x : &otherwise;
}

}  // namespace

Tensor filter_sum(const Tensor& harmonics, const Tensor& radial,
                  const std::optional<Tensor>& other_harmonics,
                  const std::optional<Tensor>& other_radial, const Tensor& samples,
                  const std::optional<Tensor>& table, const Tensor& source, const Tensor& target,
                  int64_t targets) {
  check(samples.dim() == 3,
        "samples must have shape [nodes, points, channels], found " + shape_of(samples));
  Sizes sizes = {harmonics.size(0), root_of("harmonics", harmonics), samples.size(2), 0};
  sizes.half = half_of(table, sizes.components());
  const int filters = other_harmonics ? 2 : 1;
  check(other_harmonics.has_value() == other_radial.has_value(),
        "other_harmonics and other_radial must be given together");
  const Tensor given[] = {harmonics, *pointer(other_harmonics, harmonics)};
  const Tensor given_radial[] = {radial, *pointer(other_radial, radial)};
  Tensor y[MAX_FILTERS], r[MAX_FILTERS];
  for (int q = 0; q < filters; ++q) {
    check_shape("harmonics", given[q], {sizes.edges, sizes.components()});
    check_shape("radial", given_radial[q], {sizes.edges, sizes.degrees, sizes.channels});
    y[q] = torch::stable::contiguous(given[q]);
    r[q] = torch::stable::contiguous(given_radial[q]);
  }
  const bool spread = !table && samples.size(1) == 1;
  check_samples("samples", samples, spread ? 1 : sizes.points(), sizes.channels);
  check_types(harmonics, {&radial, &given[1], &given_radial[1], &samples,
                          pointer(table, harmonics)});
  const auto sources = checked_index("source", source, sizes.edges, samples.size(0));
  const SortedEdges sorted(checked_index("target", target, sizes.edges, targets), targets);
  const int64_t points = table || spread ? sizes.points() : 1;
  Tensor result = torch::stable::new_empty(samples, {targets, points, sizes.channels});
  if (result.numel() == 0) return result;
  const Tensor u = torch::stable::contiguous(samples);
  if (harmonics.scalar_type() == ScalarType::Float) {
    sum<float>(sizes, y, r, filters, u, table, sources, sorted, result);
  } else {
    sum<double>(sizes, y, r, filters, u, table, sources, sorted, result);
  }
  return result;
}

std::tuple<Tensor, Tensor> filter_correlation(const std::optional<Tensor>& harmonics,
                                              const std::optional<Tensor>& radial, const Tensor& u,
                                              const Tensor& v, const std::optional<Tensor>& table,
                                              const Tensor& source, const Tensor& target) {
  check(u.dim() == 3, "u must have shape [nodes, points, channels], found " + shape_of(u));
  Tensor nothing = torch::stable::new_empty(u, {0});
  if (!harmonics && !radial) return {nothing, nothing};
  Sizes sizes = {source.size(0), 0, u.size(2), 0};
  sizes.degrees = harmonics ? root_of("harmonics", *harmonics) : radial->size(1);
  sizes.half = half_of(table, sizes.components());
  const std::vector<int64_t> y_shape = {sizes.edges, sizes.components()};
  const std::vector<int64_t> r_shape = {sizes.edges, sizes.degrees, sizes.channels};
  std::optional<Tensor> y, r;
  if (harmonics) {
    check_shape("harmonics", *harmonics, y_shape);
    y = torch::stable::contiguous(*harmonics);
  }
  if (radial) {
    check_shape("radial", *radial, r_shape);
    r = torch::stable::contiguous(*radial);
  }
  // Without table the factor of one point goes first; the form does not mind.
  const bool exchange = !table && u.size(1) != 1;
  const Tensor first = torch::stable::contiguous(exchange ? v : u);
  const Tensor second = torch::stable::contiguous(exchange ? u : v);
  check_samples(exchange ? "v" : "u", first, table ? sizes.points() : 1, sizes.channels);
  check_samples(exchange ? "u" : "v", second, sizes.points(), sizes.channels);
  check_types(u, {&v, pointer(harmonics, u), pointer(radial, u), pointer(table, u)});
  const auto sources = checked_index("source", source, sizes.edges, u.size(0));
  const auto targets = checked_index("target", target, sizes.edges, v.size(0));
  Tensor by_harmonics = radial ? torch::stable::new_zeros(u, y_shape) : nothing;
  Tensor by_radial = harmonics ? torch::stable::new_empty(u, r_shape) : nothing;
  if (sizes.edges == 0 || sizes.channels == 0) return {by_harmonics, by_radial};
  const auto& first_index = exchange ? targets : sources;
  const auto& second_index = exchange ? sources : targets;
  if (u.scalar_type() == ScalarType::Float) {
    correlate<float>(sizes, y, r, first, second, table, first_index, second_index, by_harmonics,
                     by_radial);
  } else {
    correlate<double>(sizes, y, r, first, second, table, first_index, second_index, by_harmonics,
                      by_radial);
  }
  return {by_harmonics, by_radial};
}

}  // namespace equinet

STABLE_TORCH_LIBRARY_IMPL(equinet, CPU, m) {
  m.impl("filter_sum", TORCH_BOX(&equinet::filter_sum));
  m.impl("filter_correlation", TORCH_BOX(&equinet::filter_correlation));
}
