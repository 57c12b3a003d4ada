// equinet::interaction and equinet::interaction_gradient on the CPU: a whole layer of message
// passing whose weights are fixed, and its gradient, in one call each.
//
// The weights are, in this order, `rows` of the radial splines, matrices `up`, `down` and `update`
// [l, in, out] that mix channels before and after the convolution and after the powers, `residual`
// [species, l, in, out] for the features read, and `powers` [species, power, l, channels]. The
// gradient takes the matrices transposed. `filter_grid` has the matrices from coefficients to
// samples and back, and the harmonics of the filter at half of the points; `power_grid` has two such
// matrices. They are empty where features are of degree 0, and where there are no powers.

#include <torch/csrc/stable/library.h>

#include <algorithm>

#include "../common/buffer.h"
#include "../filter_sum/cpu.h"
#include "../radial_spline/cpu.h"
#include "cpu_kernels.h"

namespace equinet {
namespace {

// Least number of multiplications for which it is worth to start a thread.
constexpr int64_t WORK_PER_TASK = 1 << 20;

using Tensors = std::vector<Tensor>;

// Operands of both ops, checked; all tensors but the indices are contiguous.
struct InteractionCall {
  Tensor lengths, harmonics, sender, receiver;
  Tensors weights, filter_grid, power_grid;
  std::vector<int64_t> species;
  double spacing;
  int64_t seen, atoms, edges, degrees, lm_in, lm_out, lm_kept, inner, channels, kinds, order;

  // `features` are those that are read, or the gradient by the result.
  InteractionCall(const Tensor& given_lengths, const Tensor& given_harmonics,
                  const Tensor& given_sender, const Tensor& given_receiver,
                  const Tensor& given_species, const Tensors& given_weights, double given_spacing,
                  const Tensors& given_filter_grid, const Tensors& given_power_grid,
                  bool is_transposed, int64_t given_seen)
      : lengths(given_lengths),
        harmonics(torch::stable::contiguous(given_harmonics)),
        sender(given_sender),
        receiver(given_receiver),
        spacing(given_spacing),
        seen(given_seen),
        atoms(given_species.numel()),
        edges(given_lengths.numel()) {
    check(given_weights.size() == 6, "weights must be six tensors");
    check(given_filter_grid.empty() || given_filter_grid.size() == 3,
          "filter_grid must be empty or three tensors");
    check(given_power_grid.empty() || given_power_grid.size() == 2,
          "power_grid must be empty or two tensors");
    for (const Tensor& each : given_weights) weights.push_back(contiguous_like(each));
    for (const Tensor& each : given_filter_grid) filter_grid.push_back(contiguous_like(each));
    for (const Tensor& each : given_power_grid) power_grid.push_back(contiguous_like(each));
    degrees = degrees_in(harmonics);
    const int first = is_transposed ? 2 : 1, second = is_transposed ? 1 : 2;
    for (int i = 1; i < 4; ++i) {
      check(weights[i].dim() == 3, "matrices must have shape [l, in, out], found ", weights[i]);
    }
    check(weights[4].dim() == 4, "residual must have four dimensions, found ", weights[4]);
    check(weights[5].dim() == 4, "powers must have four dimensions, found ", weights[5]);
    channels = weights[1].size(first);
    inner = weights[1].size(second);
    lm_in = square(weights[1].size(0));
    lm_out = square(weights[3].size(0));
    lm_kept = square(weights[4].size(1));
    kinds = weights[4].size(0);
    order = weights[5].size(1);
    check_weights(is_transposed);
    species = read_index("species", given_species, kinds);
    check(seen >= atoms, "the features of ", seen, " atoms are read for ", atoms, " atoms");
    check_shape("harmonics", harmonics, {edges, square(degrees)});
  }

  static int64_t square(int64_t degrees) { return degrees * degrees; }

  // Checks that an operand is of the type of the harmonics.
  Tensor contiguous_like(const Tensor& x) const {
    const OptionalTensor other(x);
    check_alike(harmonics, {&other});
    return torch::stable::contiguous(x);
  }

  int64_t sum_rows() const { return filter_grid.empty() ? square(degrees) : points(filter_grid); }
  int64_t sample_rows() const { return filter_grid.empty() ? 1 : points(filter_grid); }
  OptionalTensor table() const {
    return filter_grid.empty() ? OptionalTensor() : OptionalTensor(filter_grid[2]);
  }

  template <class T>
  InteractionJob<T> job() const {
    InteractionJob<T> job = {};
    job.atoms = atoms;
    job.seen = seen;
    job.channels = channels;
    job.inner = inner;
    job.lm_in = lm_in;
    job.lm_filter = square(degrees);
    job.lm_out = lm_out;
    job.lm_kept = lm_kept;
    job.kinds = kinds;
    job.order = order;
    job.species = species.data();
    job.up = data_of<T>(weights[1]);
    job.down = data_of<T>(weights[2]);
    job.update = data_of<T>(weights[3]);
    job.residual = data_of<T>(weights[4]);
    job.powers = data_of<T>(weights[5]);
    job.filter_grid = grid_of<T>(filter_grid);
    job.power_grid = grid_of<T>(power_grid);
    return job;
  }

 private:
  static int64_t points(const Tensors& grid) { return grid[0].size(0); }

  template <class T>
  static SampleGrid<T> grid_of(const Tensors& grid) {
    if (grid.empty()) return {nullptr, nullptr, 0};
    return {data_of<T>(grid[0]), data_of<T>(grid[1]), points(grid)};
  }

  void check_weights(bool is_transposed) const {
    const int64_t in = is_transposed ? inner : channels, out = is_transposed ? channels : inner;
    const int64_t out_degrees = weights[3].size(0), kept = weights[4].size(1);
    check_shape("rows", weights[0], {weights[0].size(0), degrees * inner});
    check_shape("up", weights[1], {weights[1].size(0), in, out});
    check_shape("down", weights[2], {degrees, out, in});
    check_shape("update", weights[3], {out_degrees, channels, channels});
    check_shape("residual", weights[4], {kinds, kept, channels, channels});
    check_shape("powers", weights[5], {kinds, order, out_degrees, channels});
    check(lm_in > 0 && kept > 0 && order > 0 && out_degrees > 0, "weights must not be empty");
    check(out_degrees <= degrees, "the result has more degrees than the filter");
    check(kept <= out_degrees && square(kept) <= lm_in, "residual has too many degrees");
    check(filter_grid.empty() == (lm_in == 1), "filter_grid must be given above degree 0 alone");
    check(power_grid.empty() == (order == 1), "power_grid must be given for powers alone");
    check_grid(filter_grid, lm_in, square(degrees));
    check_grid(power_grid, square(degrees), lm_out);
  }

  static void check_grid(const Tensors& grid, int64_t from, int64_t to) {
    if (grid.empty()) return;
    check_shape("the matrix to samples", grid[0], {grid[0].size(0), from});
    check_shape("the matrix from samples", grid[1], {to, grid[0].size(0)});
    if (grid.size() == 3) {
      check(2 * grid[2].size(0) == points(grid), "the table must have half of the points");
    }
  }
};

template <class T>
using Kernel = void (*)(const InteractionJob<T>&, const InteractionData<T>&, int64_t, int64_t, T*);

template <class T>
T* mutable_data(const Tensor& x) {
  return static_cast<T*>(x.mutable_data_ptr());
}

// Runs a kernel for `atoms` atoms, on several threads where there is enough to do.
template <class T>
void run(const InteractionJob<T>& job, const InteractionData<T>& data, int64_t atoms,
         Kernel<T> kernel) {
  const int64_t work = job.lm_filter * job.channels * (job.channels + job.power_grid.points);
  const int64_t grain = std::max<int64_t>(ATOMS_AT_ONCE, WORK_PER_TASK / work);
  torch::stable::parallel_for(0, atoms, grain, [&](int64_t begin, int64_t end) {
    const auto scratch = aligned_buffer<T>(interaction_scratch(job));
    kernel(job, data, begin, end, scratch.get());
  });
}

template <class T>
Tensors evaluate(const InteractionCall& call, const Tensor& features) {
  const InteractionJob<T> job = call.job<T>();
  InteractionData<T> data = {};
  const Tensor samples = new_tensor(features, {call.seen, call.sample_rows(), call.inner});
  data.features = data_of<T>(features);
  data.new_samples = mutable_data<T>(samples);
  run(job, data, call.seen, EQUINET_BEST(sample_features<T>));
  const Tensor radial =
      torch::stable::view(radial_spline(call.lengths, call.weights[0], call.spacing),
                          {call.edges, call.degrees, call.inner});
  const Tensor sums = filter_sum(call.harmonics, radial, {}, {}, samples, call.table(),
                                 call.sender, call.receiver, call.atoms);
  const Tensor density = new_tensor(features, {call.atoms, job.lm_filter, call.channels});
  const Tensor results = new_tensor(features, {call.lm_out, call.atoms, call.channels});
  data.sums = data_of<T>(sums);
  data.new_density = mutable_data<T>(density);
  data.new_results = mutable_data<T>(results);
  run(job, data, call.atoms, EQUINET_BEST(finish_atoms<T>));
  return {results, radial, samples, density};
}

// `tape` is what the evaluation has returned behind its result.
template <class T>
Tensors differentiate(const InteractionCall& call, const Tensor& gradient, const Tensors& tape,
                      bool by_seen) {
  const InteractionJob<T> job = call.job<T>();
  InteractionData<T> data = {};
  const Tensor &radial = tape[0], &samples = tape[1], &density = tape[2];
  const Tensor sums = new_tensor(gradient, {call.atoms, call.sum_rows(), call.inner});
  data.results = data_of<T>(gradient);
  data.density = data_of<T>(density);
  data.new_sums = mutable_data<T>(sums);
  run(job, data, call.atoms, EQUINET_BEST(finish_gradient<T>));
  const auto [by_harmonics, by_radial] = filter_correlation(
      call.harmonics, radial, samples, sums, call.table(), call.sender, call.receiver);
  const Tensor by_length =
      radial_spline_slope(call.lengths, call.weights[0], call.spacing,
                          torch::stable::view(by_radial, {call.edges, call.degrees * call.inner}));
  if (!by_seen) return {by_length, by_harmonics};
  const Tensor by_samples = filter_sum(call.harmonics, radial, {}, {}, sums, call.table(),
                                       call.receiver, call.sender, call.seen);
  const Tensor by_features = new_tensor(gradient, {call.lm_in, call.seen, call.channels});
  data.samples = data_of<T>(by_samples);
  data.by_features = mutable_data<T>(by_features);
  run(job, data, call.seen, EQUINET_BEST(sample_gradient<T>));
  return {by_length, by_harmonics, by_features};
}

Tensors interaction(const Tensor& given_features, const Tensor& lengths, const Tensor& harmonics,
                    const Tensor& sender, const Tensor& receiver, const Tensor& species,
                    Tensors weights, double spacing, Tensors filter_grid, Tensors power_grid) {
  check(given_features.dim() == 3, "features must have shape [lm, atoms, channels], found ",
        given_features);
  const InteractionCall call(lengths, harmonics, sender, receiver, species, weights, spacing,
                             filter_grid, power_grid, false, given_features.size(1));
  const Tensor features = call.contiguous_like(given_features);
  check_shape("features", features, {call.lm_in, call.seen, call.channels});
  return features.scalar_type() == ScalarType::Float ? evaluate<float>(call, features)
                                                     : evaluate<double>(call, features);
}

Tensors interaction_gradient(const Tensor& given_gradient, Tensors tape, const Tensor& lengths,
                             const Tensor& harmonics, const Tensor& sender, const Tensor& receiver,
                             const Tensor& species, Tensors weights, double spacing,
                             Tensors filter_grid, Tensors power_grid, bool by_seen) {
  check(tape.size() == 3 && tape[1].dim() == 3, "tape must be radial weights, samples, densities");
  const InteractionCall call(lengths, harmonics, sender, receiver, species, weights, spacing,
                             filter_grid, power_grid, true, tape[1].size(0));
  const Tensor gradient = call.contiguous_like(given_gradient);
  for (Tensor& each : tape) each = call.contiguous_like(each);
  check_shape("gradient", gradient, {call.lm_out, call.atoms, call.channels});
  check_shape("densities", tape[2], {call.atoms, call.harmonics.size(1), call.channels});
  return gradient.scalar_type() == ScalarType::Float
             ? differentiate<float>(call, gradient, tape, by_seen)
             : differentiate<double>(call, gradient, tape, by_seen);
}

}  // namespace
}  // namespace equinet

STABLE_TORCH_LIBRARY_IMPL(equinet, CPU, m) {
  m.impl("interaction", TORCH_BOX(&equinet::interaction));
  m.impl("interaction_gradient", TORCH_BOX(&equinet::interaction_gradient));
}
