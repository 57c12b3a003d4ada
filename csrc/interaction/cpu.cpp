// equinet::interaction and equinet::interaction_gradient on the CPU: a whole layer of message
// passing whose weights are fixed, and its gradient, in one call each.

#include "cpu.h"

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

int64_t square(int64_t degrees) { return degrees * degrees; }

// Operands of both ops, checked; all tensors but the indices are contiguous.
struct InteractionCall {
  Tensor lengths, harmonics, sender, receiver;
  Tensors weights;
  std::vector<int64_t> species;
  int64_t seen, atoms, edges, degrees, channels, inner, lm_in, lm_out, kept, kinds, order;
  double spacing;

  InteractionCall(const Tensor& given_lengths, const Tensor& given_harmonics,
                  const Tensor& given_sender, const Tensor& given_receiver,
                  const Tensor& given_species, const Tensors& given_weights, double cutoff,
                  int64_t given_seen)
      : lengths(given_lengths),
        harmonics(as_contiguous(given_harmonics)),
        sender(given_sender),
        receiver(given_receiver),
        seen(given_seen),
        atoms(given_species.numel()),
        edges(given_lengths.numel()),
        degrees(degrees_in(harmonics)) {
    check(given_weights.size() == LAYER_WEIGHTS, "a layer must have ", int64_t{LAYER_WEIGHTS},
          " weights, found ", int64_t(given_weights.size()));
    for (const Tensor& each : given_weights) weights.push_back(contiguous_like(each));
    for (const int place : {UP, DOWN, UPDATE}) {
      check(weights[place].dim() == 3, "matrices must have shape [l, in, out], found ",
            weights[place]);
    }
    for (const int place : {RESIDUAL, POWERS}) {
      check(weights[place].dim() == 4, "weights of species must have four dimensions, found ",
            weights[place]);
    }
    channels = weights[UP].size(1);
    inner = weights[UP].size(2);
    lm_in = square(weights[UP].size(0));
    lm_out = square(weights[UPDATE].size(0));
    kinds = weights[RESIDUAL].size(0);
    kept = weights[RESIDUAL].size(1);
    order = weights[POWERS].size(1);
    check_weights();
    spacing = cutoff / double(weights[ROWS].size(0) / 3 - 1);
    species = read_index("species", given_species, kinds);
    check(seen >= atoms, "the features of ", seen, " atoms are read for ", atoms, " atoms");
    check_shape("harmonics", harmonics, {edges, square(degrees)});
  }

  // A contiguous operand, which must be of the type of the harmonics.
  Tensor contiguous_like(const Tensor& x) const {
    const OptionalTensor other(x);
    check_alike(harmonics, {&other});
    return as_contiguous(x);
  }

  bool has_grid() const { return weights[FILTER_GRID].numel() > 0; }
  int64_t sum_rows() const { return has_grid() ? weights[FILTER_GRID].size(0) : square(degrees); }
  int64_t sample_rows() const { return has_grid() ? weights[FILTER_GRID].size(0) : 1; }
  OptionalTensor table() const {
    return has_grid() ? OptionalTensor(weights[FILTER_GRID + 2]) : OptionalTensor();
  }

  template <class T>
  InteractionJob<T> job(bool is_gradient) const {
    const auto matrices = [&](int place) {
      return data_of<T>(weights[is_gradient ? TRANSPOSED + place - UP : place]);
    };
    InteractionJob<T> job = {};
    job.atoms = atoms;
    job.seen = seen;
    job.channels = channels;
    job.inner = inner;
    job.lm_in = lm_in;
    job.lm_filter = square(degrees);
    job.lm_out = lm_out;
    job.lm_kept = square(kept);
    job.kinds = kinds;
    job.order = order;
    job.species = species.data();
    job.up = matrices(UP);
    job.down = matrices(DOWN);
    job.update = matrices(UPDATE);
    job.residual = matrices(RESIDUAL);
    job.powers = data_of<T>(weights[POWERS]);
    job.filter_grid = grid<T>(FILTER_GRID);
    job.power_grid = grid<T>(POWER_GRID);
    return job;
  }

 private:
  template <class T>
  SampleGrid<T> grid(int place) const {
    if (weights[place].numel() == 0) return {nullptr, nullptr, 0};
    return {data_of<T>(weights[place]), data_of<T>(weights[place + 1]), weights[place].size(0)};
  }

  void check_weights() const {
    const int64_t in_degrees = weights[UP].size(0), out_degrees = weights[UPDATE].size(0);
    check_shape("rows", weights[ROWS], {weights[ROWS].size(0), degrees * inner});
    check_matrices("up", UP, {in_degrees}, channels, inner);
    check_matrices("down", DOWN, {degrees}, inner, channels);
    check_matrices("update", UPDATE, {out_degrees}, channels, channels);
    check_matrices("residual", RESIDUAL, {kinds, kept}, channels, channels);
    check_shape("powers", weights[POWERS], {kinds, order, out_degrees, channels});
    check(lm_in > 0 && lm_out > 0 && kept > 0 && order > 0, "weights must not be empty");
    check(out_degrees <= degrees, "the result has more degrees than the filter");
    check(kept <= in_degrees && kept <= out_degrees, "residual has too many degrees");
    check(has_grid() == (lm_in > 1), "the grid of the filter is for features above degree 0");
    check((weights[POWER_GRID].numel() > 0) == (order > 1), "the grid of the powers is for powers");
    check_grid(FILTER_GRID, lm_in, square(degrees));
    check_grid(POWER_GRID, square(degrees), lm_out);
    if (has_grid()) {
      check(2 * weights[FILTER_GRID + 2].size(0) == weights[FILTER_GRID].size(0),
            "the table must have half of the points");
    }
  }

  // Checks matrices [..., in, out] and their transposes.
  void check_matrices(const char* name, int place, std::vector<int64_t> shape, int64_t in,
                      int64_t out) const {
    for (const auto& [each, first, last] :
         {std::tuple(place, in, out), std::tuple(TRANSPOSED + place - UP, out, in)}) {
      std::vector<int64_t> wanted = shape;
      wanted.insert(wanted.end(), {first, last});
      const auto sizes = weights[each].sizes();
      check(std::equal(sizes.begin(), sizes.end(), wanted.begin(), wanted.end()), name,
            " must have shape ", wanted, ", found ", weights[each]);
    }
  }

  void check_grid(int place, int64_t from, int64_t to) const {
    if (weights[place].numel() == 0) return;
    const int64_t points = weights[place].size(0);
    check_shape("the matrix to samples", weights[place], {points, from});
    check_shape("the matrix from samples", weights[place + 1], {to, points});
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
  const InteractionJob<T> job = call.job<T>(false);
  InteractionData<T> data = {};
  const Tensor samples = new_tensor(features, {call.seen, call.sample_rows(), call.inner});
  data.features = data_of<T>(features);
  data.new_samples = mutable_data<T>(samples);
  run(job, data, call.seen, EQUINET_BEST(sample_features<T>));
  const Tensor radial =
      torch::stable::view(radial_spline(call.lengths, call.weights[ROWS], call.spacing),
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

template <class T>
Tensors differentiate(const InteractionCall& call, const Tensor& gradient, const Tensors& tape,
                      bool by_seen) {
  const InteractionJob<T> job = call.job<T>(true);
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
      radial_spline_slope(call.lengths, call.weights[ROWS], call.spacing,
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

}  // namespace

Tensors interaction(const Tensor& given_features, const Tensor& lengths, const Tensor& harmonics,
                    const Tensor& sender, const Tensor& receiver, const Tensor& species,
                    Tensors weights, double cutoff) {
  check(given_features.dim() == 3, "features must have shape [lm, atoms, channels], found ",
        given_features);
  const InteractionCall call(lengths, harmonics, sender, receiver, species, weights, cutoff,
                             given_features.size(1));
  const Tensor features = call.contiguous_like(given_features);
  check_shape("features", features, {call.lm_in, call.seen, call.channels});
  return features.scalar_type() == ScalarType::Float ? evaluate<float>(call, features)
                                                     : evaluate<double>(call, features);
}

Tensors interaction_gradient(const Tensor& given_gradient, Tensors tape, const Tensor& lengths,
                             const Tensor& harmonics, const Tensor& sender, const Tensor& receiver,
                             const Tensor& species, Tensors weights, double cutoff, bool by_seen) {
  check(tape.size() == 3 && tape[1].dim() == 3, "tape must be radial weights, samples, densities");
  const InteractionCall call(lengths, harmonics, sender, receiver, species, weights, cutoff,
                             tape[1].size(0));
  const Tensor gradient = call.contiguous_like(given_gradient);
  for (Tensor& each : tape) each = call.contiguous_like(each);
  check_shape("gradient", gradient, {call.lm_out, call.atoms, call.channels});
  check_shape("densities", tape[2], {call.atoms, call.harmonics.size(1), call.channels});
  return gradient.scalar_type() == ScalarType::Float
             ? differentiate<float>(call, gradient, tape, by_seen)
             : differentiate<double>(call, gradient, tape, by_seen);
}

}  // namespace equinet

STABLE_TORCH_LIBRARY_IMPL(equinet, CPU, m) {
  m.impl("interaction", TORCH_BOX(&equinet::interaction));
  m.impl("interaction_gradient", TORCH_BOX(&equinet::interaction_gradient));
}
