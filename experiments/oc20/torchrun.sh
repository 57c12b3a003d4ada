#!/usr/bin/env bash
# Train EquiformerV2 on OC20 on all GPUs of one machine, or of several, by torchrun.
#   DATA=STORES bash experiments/oc20/torchrun.sh runs/oc20-l6 [any.key=value ...]
# STORES is the folder of stores, converted with --cutoff 12 --max-neighbors 20 (or of released files,
# which are, once). run.probe=20 says what memory and time it takes. The same command resumes. On several
# machines give each NODES, its own NODE_RANK and the same HEAD=host:port, and a run directory that
# all of them see. A worker that dies takes the others down; torchrun then starts all anew, at most
# RESTARTS times, from the last checkpoint.
#   PROCESSES   of this machine; all GPUs          TRAINER=ddp_cpu   two processes, to try it out
#   PRECISION   of products; bf16-mixed            MODEL             equiformer_v2_l6
set -euo pipefail
run=${1:?give a run directory}
shift
: "${DATA:?give the folder of the splits by DATA=...}"
cd "$(dirname "$0")/../.."
trainer=${TRAINER:-ddp}
if [ "$trainer" = ddp ]; then
  processes=${PROCESSES:-$(nvidia-smi --list-gpus | wc -l)}
else
  processes=${PROCESSES:-2}
fi
nodes=${NODES:-1}
if [ "$nodes" = 1 ]; then
  meeting=(--standalone)
else
  meeting=(--node-rank "${NODE_RANK:?}" --rdzv-backend c10d --rdzv-id "$(basename "$run")"
    --rdzv-endpoint "${HEAD:?give host:port of the first machine}")
fi
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
exec "${PYTHON:-python}" -m torch.distributed.run "${meeting[@]}" --nnodes "$nodes" \
  --nproc-per-node "$processes" --max-restarts "${RESTARTS:-1}" -m equinet.train \
  +experiment=oc20 data.root="$DATA" run.dir="$run" model="${MODEL:-equiformer_v2_l6}" \
  trainer="$trainer" trainer.devices="$processes" trainer.num_nodes="$nodes" \
  trainer.precision="${PRECISION:-bf16-mixed}" model.checkpointing=true \
  data.cutoff=12 data.max_neighbors=20 data.max_edges=10000 data.num_workers=4 \
  optim.lr=2e-4 callbacks.ema.decay=0.999 trainer.max_epochs=12 trainer.max_time=null "$@"
