#!/usr/bin/env bash
# Everything that only a GPU can show, in one call: build there, tests on the device, doctor, bench,
# and the figures in experiments/gpu/results.json. Needs a CUDA build of torch and nvcc.
#   [PYTHON=python] [OUT=runs/gpu] [MACE_PYTHON=... DATA=...] bash experiments/gpu/check.sh
# OUT takes the output of the steps. With MACE_PYTHON, an interpreter that has mace-torch and
# cuEquivariance, and DATA, the folder of the 3BPA files, a training step is raced too, last.
# Nothing is written where there is no GPU, and no figure where a step fails.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${PYTHON:-python}
out=${OUT:-runs/gpu}
"$python" - <<'EOP'
import sys
try:
    import torch
except ImportError:
    sys.exit("experiments/gpu/check.sh: this Python has no torch; name another one by PYTHON=...")
if not torch.cuda.is_available():
    sys.exit("experiments/gpu/check.sh: torch sees no CUDA device; run it on a machine with one")
EOP
mkdir -p "$out"
if [ -z "${EQUINET_CUDA_ARCH:-}" ]; then # only for what is here
  EQUINET_CUDA_ARCH=$("$python" -c 'import torch; print("%d%d" % torch.cuda.get_device_capability())')
  export EQUINET_CUDA_ARCH
fi
EQUINET_BUILD=cuda "$python" -m pip install --quiet -e ".[atoms,dev]"
"$python" -m pytest -W default -m gpu tests/ops/native --junitxml "$out/pytest.xml"
"$python" -m equinet doctor | tee "$out/doctor.txt"
rm -rf "$out"/bench* # or figures of an earlier check would be recorded again
bench() { # name, options
  "$python" -m equinet bench --device cuda --batch 32768 --channels 128 --out "$out/$1" "${@:2}"
}
bench bench-product --ops gaunt_product --lmax 1 2 3 4 5 6 7 8 --only native grid
bench bench-others --ops bracket_product gaunt_powers gaunt_convolution orientation_convolution \
  --lmax 2 4 --only native grid
# The compilers of the other libraries take minutes at higher degrees.
bench bench-e3nn --ops gaunt_product --lmax 2 4 --only native e3nn
if "$python" -c "import torch, cuequivariance_torch, cuequivariance_ops_torch" 2>"$out/cuequivariance.txt"; then
  bench bench-cuequivariance --ops gaunt_product --lmax 2 3 4 --only native cuequivariance
fi
"$python" experiments/gpu/record.py "$out" experiments/gpu/results.json
if [ -n "${MACE_PYTHON:-}" ]; then
  "$python" experiments/3bpa/against_mace.py --device cuda --mace-python "$MACE_PYTHON" \
    --data "$DATA" --out experiments/gpu/against_mace.json
fi
