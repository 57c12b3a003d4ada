// equinet::gaunt_network on the CPU: energies, forces and virial of a MACEGaunt whose weights are
// fixed, from positions, in one call.

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <algorithm>

#include "../common/buffer.h"
#include "../edge_harmonics/cpu.h"
#include "../filter_sum/cpu.h"
#include "../interaction/cpu.h"
#include "cpu_kernels.h"

namespace equinet {
namespace {

// Weights of a readout: the matrix of its hidden layer, the same transposed, both empty where it is
// linear, and the weights of its result.
constexpr size_t READOUT_WEIGHTS = 3;

// Edges between atoms, with the vectors from receiver to sender in double precision.
struct Geometry {
  std::vector<int64_t> sender, receiver, graph;
  std::vector<double> vectors;  // [E, 3]

  Geometry(const Tensor& positions, const Tensor& cells, const Tensor& batch, const Tensor& senders,
           const Tensor& receivers, const Tensor& shifts)
      : sender(read_index("sender", senders, positions.size(0))),
        receiver(read_index("receiver", receivers, positions.size(0))),
        graph(read_index("batch", batch, cells.size(0))),
        vectors(3 * sender.size()) {
    const double *place = data_of<double>(positions), *cell = data_of<double>(cells);
    const double* shift = data_of<double>(shifts);
    for (size_t e = 0; e < sender.size(); ++e, shift += 3) {
      const double* rows = cell + 9 * graph[receiver[e]];
      for (int i = 0; i < 3; ++i) {
        const double moved = shift[0] * rows[i] + shift[1] * rows[3 + i] + shift[2] * rows[6 + i];
        vectors[3 * e + i] = place[3 * sender[e] + i] - place[3 * receiver[e] + i] + moved;
      }
    }
  }

  template <class T>
  Tensor rounded(const Tensor& like) const {
    const Tensor result = new_tensor(like, {int64_t(sender.size()), 3});
    std::copy(vectors.begin(), vectors.end(), static_cast<T*>(result.mutable_data_ptr()));
    return result;
  }

  // Forces on atoms, and the sum over the edges of each graph of vector times slope.
  template <class T>
  void scatter(const T* slopes, double* forces, double* virial) const {
    for (size_t e = 0; e < sender.size(); ++e, slopes += 3) {
      double* sums = virial + 9 * graph[receiver[e]];
      for (int i = 0; i < 3; ++i) {
        forces[3 * receiver[e] + i] += slopes[i];
        forces[3 * sender[e] + i] -= slopes[i];
        for (int j = 0; j < 3; ++j) sums[3 * i + j] += vectors[3 * e + i] * slopes[j];
      }
    }
  }
};

template <class T>
void add(const Tensor& x, int64_t count, Tensor& sum) {
  const T* source = data_of<T>(x);
  T* target = static_cast<T*>(sum.mutable_data_ptr());
  for (int64_t i = 0; i < count; ++i) target[i] += source[i];
}

// A network and the structure that it evaluates.
template <class T>
class Network {
 public:
  Network(const Tensor& sender, const Tensor& receiver, const Tensor& species,
          const Tensor& embedding, const Tensors& weights, const Tensors& readouts, double cutoff)
      : sender_(sender), receiver_(receiver), species_(species), embedding_(as_contiguous(embedding)),
        cutoff_(cutoff) {
    for (auto each = weights.begin(); each != weights.end(); each += LAYER_WEIGHTS) {
      layers_.emplace_back(each, each + LAYER_WEIGHTS);
    }
    for (const Tensor& each : readouts) readouts_.push_back(as_contiguous(each));
  }

  // Adds the energies of the atoms.
  void evaluate(const Tensor& vectors, double* energies) {
    const int64_t degrees = layers_[0][DOWN].size(0);
    vectors_ = vectors;
    std::tie(lengths_, harmonics_) = edge_harmonics(vectors, degrees - 1);
    Tensor features = embed();
    for (size_t n = 0; n < layers_.size(); ++n) {
      Tensors found = interaction(features, lengths_, harmonics_, sender_, receiver_, species_,
                                  layers_[n], cutoff_);
      features = found[0];
      tapes_.emplace_back(found.begin() + 1, found.end());
      by_scalars_.push_back(read_out(n, features, energies));
    }
    components_ = features.size(0);
  }

  // Gradient by the edge vectors.
  Tensor differentiate() {
    const int64_t size = by_scalars_[0].numel();
    Tensor by_features = torch::stable::new_zeros(
        embedding_, {components_, by_scalars_[0].size(0), by_scalars_[0].size(1)});
    Tensor by_length = torch::stable::new_zeros(lengths_, {lengths_.size(0)});
    Tensor by_harmonics =
        torch::stable::new_zeros(lengths_, {harmonics_.size(0), harmonics_.size(1)});
    for (size_t n = layers_.size(); n-- > 0;) {
      add<T>(by_scalars_[n], size, by_features);  // scalars are the first component
      const Tensors found =
          interaction_gradient(by_features, tapes_[n], lengths_, harmonics_, sender_, receiver_,
                               species_, layers_[n], cutoff_, n > 0);
      add<T>(found[0], by_length.numel(), by_length);
      add<T>(found[1], by_harmonics.numel(), by_harmonics);
      if (n > 0) by_features = found[2];
    }
    return edge_gradient(vectors_, by_length, by_harmonics);
  }

 private:
  Tensor embed() const {
    const int64_t channels = embedding_.size(1);
    const auto kinds = read_index("species", species_, embedding_.size(0));
    Tensor features = new_tensor(embedding_, {1, int64_t(kinds.size()), channels});
    T* row = static_cast<T*>(features.mutable_data_ptr());
    for (size_t i = 0; i < kinds.size(); ++i, row += channels) {
      std::copy_n(data_of<T>(embedding_) + kinds[i] * channels, channels, row);
    }
    return features;
  }

  // Adds the energies that are read out after a layer; returns the gradient by the scalars.
  Tensor read_out(size_t n, const Tensor& features, double* energies) const {
    const Tensor* weights = &readouts_[READOUT_WEIGHTS * n];
    ReadoutJob<T> job = {};
    job.scalars = data_of<T>(features);
    job.atoms = features.size(1);
    job.channels = features.size(2);
    job.hidden = weights[0].numel() / job.channels;
    check_shape("the hidden layer", weights[0], {job.hidden, job.channels});
    check_shape("the hidden layer, transposed,", weights[1], {job.channels, job.hidden});
    check_shape("weights of a readout", weights[2], {1, job.hidden ? job.hidden : job.channels});
    for (size_t i = 0; i < READOUT_WEIGHTS; ++i) {
      check(weights[i].scalar_type() == features.scalar_type(), "weights must be of one type");
    }
    job.matrix = data_of<T>(weights[0]);
    job.transposed = data_of<T>(weights[1]);
    job.weights = data_of<T>(weights[2]);
    job.energies = energies;
    Tensor gradient = new_tensor(features, {job.atoms, job.channels});
    job.gradient = static_cast<T*>(gradient.mutable_data_ptr());
    const auto scratch = aligned_buffer<T>(readout_scratch(job));
    EQUINET_BEST(read_out<T>)(job, scratch.get());
    return gradient;
  }

  Tensor sender_, receiver_, species_, embedding_;
  double cutoff_;
  std::vector<Tensors> layers_, tapes_;
  Tensors readouts_, by_scalars_;
  Tensor vectors_, lengths_, harmonics_;
  int64_t components_ = 0;
};

template <class T>
void evaluate(const Geometry& geometry, Network<T> network, const Tensor& like, Tensors& results) {
  const auto numbers = [&](int i) { return static_cast<double*>(results[i].mutable_data_ptr()); };
  network.evaluate(geometry.rounded<T>(like), numbers(0));
  if (results.size() == 1) return;
  const Tensor slopes = network.differentiate();
  geometry.scatter(data_of<T>(slopes), numbers(1), numbers(2));
}

// Energies of the atoms [N] and, if asked for, forces [N, 3] and the virial of each graph [G, 3, 3].
Tensors gaunt_network(const Tensor& given_positions, const Tensor& given_cells, const Tensor& batch,
                      const Tensor& sender, const Tensor& receiver, const Tensor& given_shifts,
                      const Tensor& species, const Tensor& embedding, Tensors weights,
                      Tensors readouts, double cutoff, bool gradient) {
  const Tensor positions = as_contiguous(given_positions), cells = as_contiguous(given_cells);
  const Tensor shifts = as_contiguous(given_shifts);
  const int64_t atoms = positions.size(0), graphs = cells.size(0), edges = sender.numel();
  for (const Tensor* each : {&positions, &cells, &shifts}) {
    check(each->scalar_type() == ScalarType::Double, "positions, cells and shifts must be float64");
  }
  check_shape("positions", positions, {atoms, 3});
  check_shape("cells", cells, {graphs, 3, 3});
  check_shape("batch", batch, {atoms});
  check_shape("species", species, {atoms});
  check_shape("sender", sender, {edges});
  check_shape("receiver", receiver, {edges});
  check_shape("shifts", shifts, {edges, 3});
  check(embedding.dim() == 2, "embedding must have shape [species, channels], found ", embedding);
  const size_t layers = weights.size() / LAYER_WEIGHTS;
  check(layers > 0 && weights.size() == layers * LAYER_WEIGHTS &&
            readouts.size() == layers * READOUT_WEIGHTS,
        "weights and readouts must be those of one or more layers");
  const Geometry geometry(positions, cells, batch, sender, receiver, shifts);
  Tensors results = {torch::stable::new_zeros(positions, {atoms})};
  if (gradient) {
    results.push_back(torch::stable::new_zeros(positions, {atoms, 3}));
    results.push_back(torch::stable::new_zeros(positions, {graphs, 3, 3}));
  }
  if (embedding.scalar_type() == ScalarType::Float) {
    evaluate<float>(geometry, {sender, receiver, species, embedding, weights, readouts, cutoff},
                    embedding, results);
  } else {
    evaluate<double>(geometry, {sender, receiver, species, embedding, weights, readouts, cutoff},
                     embedding, results);
  }
  return results;
}

}  // namespace
}  // namespace equinet

STABLE_TORCH_LIBRARY_IMPL(equinet, CPU, m) {
  m.impl("gaunt_network", TORCH_BOX(&equinet::gaunt_network));
}
