// The bodies of the convolution's CUDA kernels on the CPU: loops over blocks and threads in place of
// a launch, one loop between two barriers. Shared memory holds NaN at first, so that a value that no
// thread has written shows.
#include <limits>
#include <memory>
#include <vector>

#include "../../../csrc/filter_sum/blocks.h"

namespace equinet {
namespace {

// Shared memory, all NaN.
template <class Shared, class T>
class Poisoned {
 public:
  Poisoned() : numbers_(sizeof(Shared) / sizeof(T), std::numeric_limits<T>::quiet_NaN()) {}
  Shared& operator*() { return *reinterpret_cast<Shared*>(numbers_.data()); }

 private:
  std::vector<T> numbers_;
};

template <class F>
void for_each_thread(const F& f) {
  for (int thread = 0; thread < FILTER_THREADS; ++thread) f(thread);
}

template <class T>
struct SumLoop {
  const GridSumJob<T>& job;
  int64_t targets;

  template <int EVEN, int ODD>
  void operator()(Terms<EVEN, ODD>) const {
    for (int64_t target = 0; target < targets; ++target) {
      for (int channel = 0; channel < job.channels; channel += LANES) {
        for (int pair = 0; pair < job.half; pair += BLOCK_PAIRS) {
          run(GridSumBlock<EVEN, ODD, T>{job, target, channel, pair});
        }
      }
    }
  }

  template <class Block>
  void run(const Block& block) const {
    Poisoned<typename Block::Shared, T> shared;
    std::vector<typename Block::Thread> own(FILTER_THREADS);
    for_each_thread([&](int thread) { block.start(own[thread]); });
    const int64_t last = job.starts[block.target + 1];
    for (int64_t begin = job.starts[block.target]; begin < last; begin += EDGES_AT_ONCE) {
      const int64_t end = begin + EDGES_AT_ONCE < last ? begin + EDGES_AT_ONCE : last;
      for_each_thread([&](int thread) { block.make_kernels(thread, begin, end, *shared); });
      for_each_thread([&](int thread) { block.add(thread, begin, end, *shared, own[thread]); });
    }
    for_each_thread([&](int thread) { block.finish(thread, own[thread]); });
  }
};

template <class T>
struct CorrelationLoop {
  const GridCorrelationJob<T>& job;
  int64_t edges;

  template <int EVEN, int ODD>
  void operator()(Terms<EVEN, ODD>) const {
    for (int64_t edge = 0; edge < edges; ++edge) {
      for (int pair = 0; pair < job.half; pair += BLOCK_PAIRS) {
        run(GridCorrelationBlock<EVEN, ODD, T>{job, edge, pair});
      }
    }
  }

  template <class Block>
  void run(const Block& block) const {
    Poisoned<typename Block::Shared, T> shared;
    std::vector<typename Block::Thread> own(FILTER_THREADS);
    for_each_thread([&](int thread) { block.start(thread, own[thread], *shared); });
    for (int channel = 0; channel < job.channels; channel += LANES) {
      for_each_thread([&](int thread) { block.correlate(thread, channel, own[thread], *shared); });
      for_each_thread([&](int thread) { block.write_radial(thread, channel, *shared); });
    }
    if (!job.radial) return;
    for_each_thread([&](int thread) { block.share_dots(thread, own[thread], *shared); });
    for_each_thread([&](int thread) { block.sum_dots(thread, *shared); });
    for_each_thread([&](int thread) { block.write_harmonics(thread, *shared); });
  }
};

template <class T>
void correlate_components(const GridCorrelationJob<T>& job, int64_t edges) {
  const int components = job.degrees * job.degrees;
  for (int64_t edge = 0; edge < edges; ++edge) {
    for (int first = 0; first < components; first += BLOCK_PAIRS) {
      const ComponentBlock<T> block{job, edge, first};
      Poisoned<typename ComponentBlock<T>::Shared, T> shared;
      for_each_thread([&](int thread) { block.correlate(thread, *shared); });
      for_each_thread([&](int thread) { block.finish(thread, *shared); });
    }
  }
}

}  // namespace

template <class T>
void sum(const void* const* operands, const int64_t* const* indices, void* result,
         const int64_t* sizes, bool spreads) {
  const auto data = [&](int i) { return static_cast<const T*>(operands[i]); };
  GridSumJob<T> job = {};
  job.harmonics[0] = data(0);
  job.radial[0] = data(1);
  job.harmonics[1] = data(2);
  job.radial[1] = data(3);
  job.samples = data(4);
  job.table = data(5);
  job.sums = static_cast<T*>(result);
  job.filters = data(2) ? 2 : 1;
  job.half = int(sizes[0]);
  job.degrees = int(sizes[1]);
  job.channels = int(sizes[2]);
  job.starts = indices[0];
  job.edges = indices[1];
  job.sources = indices[2];
  const int64_t targets = sizes[3], components = job.degrees * job.degrees;
  if (job.table) {
    for_term_blocks(job.filters, job.degrees, MAX_TERMS, [&](const TermBlock& block) {
      job.terms = block;
      with_terms<MAX_TERMS>(block, SumLoop<T>{job, targets});
      job.adds = true;
    });
  } else if (spreads) {
    for (int64_t i = 0; i < targets * components * job.channels; ++i) sum_to_component(job, i);
  } else {
    for (int64_t i = 0; i < targets * job.channels; ++i) sum_components(job, i);
  }
}

template <class T>
void correlate(const void* const* operands, const int64_t* const* indices, void* by_harmonics,
               void* by_radial, const int64_t* sizes) {
  const auto data = [&](int i) { return static_cast<const T*>(operands[i]); };
  GridCorrelationJob<T> job = {};
  job.harmonics = data(0);
  job.radial = data(1);
  job.u = data(2);
  job.v = data(3);
  job.table = data(4);
  job.by_harmonics = static_cast<T*>(by_harmonics);
  job.by_radial = static_cast<T*>(by_radial);
  job.half = int(sizes[0]);
  job.degrees = int(sizes[1]);
  job.channels = int(sizes[2]);
  job.sources = indices[0];
  job.targets = indices[1];
  const int64_t edges = sizes[3];
  if (job.table) {
    for_term_blocks(1, job.degrees, CORRELATED_TERMS, [&](const TermBlock& block) {
      job.terms = block;
      with_terms<CORRELATED_TERMS>(block, CorrelationLoop<T>{job, edges});
    });
    return;
  }
  if (job.harmonics) {
    const int64_t count = edges * job.degrees * job.channels;
    for (int64_t i = 0; i < count; ++i) correlate_radial(job, i);
  }
  if (job.radial) correlate_components(job, edges);
}

}  // namespace equinet

extern "C" void filter_sum(const void* const* operands, const int64_t* const* indices, void* result,
                           const int64_t* sizes, int spreads, int is_double) {
  const auto run = is_double ? equinet::sum<double> : equinet::sum<float>;
  run(operands, indices, result, sizes, spreads != 0);
}

extern "C" void filter_correlation(const void* const* operands, const int64_t* const* indices,
                                   void* by_harmonics, void* by_radial, const int64_t* sizes,
                                   int is_double) {
  const auto run = is_double ? equinet::correlate<double> : equinet::correlate<float>;
  run(operands, indices, by_harmonics, by_radial, sizes);
}
