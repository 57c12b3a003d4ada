#!/usr/bin/env bash
# The headline models on one GPU, one after the other; a run that was interrupted goes on, a finished
# one is kept. Figures go to experiments/*/results.json by experiments/record.py.
#   DATA=FOLDER [PYTHON=python] [OUT=runs/gpu] [HOURS=2] [RUNS="rmd17 affnist"] bash experiments/gpu/train.sh
# DATA holds the folders 3bpa, rmd17_aspirin and mnist. HOURS is the time of each run; affnist has five, with
# seeds 0 to 4. N-body needs no data, qm9_generate the package qm9pack; it also samples 10 000 molecules.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${PYTHON:-python}
out=${OUT:-runs/gpu}
: "${DATA:?name the folder of the data sets: DATA=FOLDER bash experiments/gpu/train.sh}"
"$python" -c 'import torch; assert torch.cuda.is_available()' 2>/dev/null || {
  echo "experiments/gpu/train.sh: $python sees no CUDA device; run it on a machine with one" >&2
  exit 1
}
time=$("$python" -c 'import sys; s = round(3600 * float(sys.argv[1])); print(f"{s // 86400:02d}:{s % 86400 // 3600:02d}:{s % 3600 // 60:02d}:{s % 60:02d}")' "${HOURS:-2}")

train() { # name, experiment, options: train and record
  local run="$out/$1"
  [ -f "$run/metrics.json" ] || "$python" -m equinet.train +experiment="$2" trainer=gpu \
    trainer.max_time="$time" run.dir="$run" "${@:3}"
  if [ "$2" = 3bpa ]; then
    "$python" -m equinet.evaluate checkpoint="$run" data.file="$DATA/3bpa/test_300K.xyz"
  fi
  "$python" experiments/record.py "experiments/$2/results.json" "$run" --note "one GPU"
}

for name in ${RUNS:-3bpa rmd17 nbody superpixel affnist qm9_generate}; do
  case $name in
    3bpa) train gpu-3bpa 3bpa data.root="$DATA/3bpa" model.channels=256 model.convolution_channels=256
      ;;
    rmd17) train gpu-rmd17 rmd17 data.root="$DATA/rmd17_aspirin" model.channels=128 model.convolution_channels=192 ;;
    nbody) train gpu-nbody nbody model.channels=64 ;;
    qm9_generate)
      # Width, depth and batch of the published network; the average is over more steps than on a processor.
      train gpu-qm9-generate qm9_generate model.channels=256 model.layers=9 data.batch_size=96 \
        optim.lr=0.005 callbacks.ema.decay=0.9995 trainer.max_epochs=1000
      "$python" -m equinet.sample checkpoint="$out/gpu-qm9-generate" n=10000 batch_size=1000 ;;
    superpixel) train gpu-superpixel superpixel data.root="$DATA/mnist" ;;
    affnist)
      for seed in 0 1 2 3 4; do
        train "gpu-affnist-$seed" affnist data.root="$DATA/mnist" model.channels=48 seed="$seed"
      done ;;
    *) echo "experiments/gpu/train.sh: no run is called $name" >&2; exit 2 ;;
  esac
done
