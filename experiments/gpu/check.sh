#!/usr/bin/env bash
# Everything that only a GPU can show, in one call: tests on the device, doctor, bench, and 3BPA.
# Needs a CUDA build of torch in the active environment. Writes below OUT (default: runs/gpu).
#   bash experiments/gpu/check.sh [DATA_ROOT_OF_3BPA] [TRAINING_TIME, as 00:00:10:00]
set -euo pipefail
cd "$(dirname "$0")/../.."
data=${1:-}
time=${2:-00:00:10:00}
out=${OUT:-runs/gpu}
mkdir -p "$out"
python - <<'PY'
import sys, torch
if not torch.cuda.is_available():
    sys.exit("experiments/gpu/check.sh: torch sees no CUDA device; run it on a machine with one")
print(torch.cuda.get_device_name(), torch.__version__)
PY
python -m pip install --quiet -e ".[atoms,dev]"
python -m pytest -m gpu | tee "$out/pytest.txt"
python -m equinet doctor | tee "$out/doctor.txt"
python -m equinet bench --device cuda --out "$out/bench"
if [ -n "$data" ]; then
  python -m equinet.train +experiment=3bpa data.root="$data" trainer=gpu \
    model.channels=256 trainer.max_time="$time" run.dir="$out/3bpa"
  python -m equinet.evaluate checkpoint="$out/3bpa" data.file="$data/test_300K.xyz"
fi
