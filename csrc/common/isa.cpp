#include "isa.h"

#include <torch/csrc/stable/library.h>

#include <cstdlib>
#include <stdexcept>
#include <string>

namespace equinet {
namespace {

constexpr Isa all[] = {Isa::baseline, Isa::avx2, Isa::avx512};

Isa best_of_processor() {
#if defined(__x86_64__)
  // These are exactly the features that the build passes to the compiler for each set.
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
      return Isa::avx512;
    }
    return Isa::avx2;
  }
#endif
  return Isa::baseline;
}

Isa choose() {
  const Isa best = best_of_processor();
  const char* wanted = std::getenv("EQUINET_CPU_CAPABILITY");
  if (wanted == nullptr || *wanted == '\0') {
    return best;
  }
  for (const Isa each : all) {
    if (std::string(wanted) == name_of(each)) {
      return each < best ? each : best;
    }
  }
  throw std::runtime_error(
      "EQUINET_CPU_CAPABILITY must be baseline, avx2 or avx512, found '" + std::string(wanted) +
      "'");
}

std::string cpu_capability() { return name_of(active_isa()); }

}  // namespace

Isa active_isa() {
  static const Isa chosen = choose();
  return chosen;
}

const char* name_of(Isa isa) {
  return isa == Isa::avx512 ? "avx512" : isa == Isa::avx2 ? "avx2" : "baseline";
}

}  // namespace equinet

STABLE_TORCH_LIBRARY_IMPL(equinet, CompositeExplicitAutograd, m) {
  m.impl("cpu_capability", TORCH_BOX(&equinet::cpu_capability));
}
