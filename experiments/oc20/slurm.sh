#!/usr/bin/env bash
# Train EquiformerV2 on OC20 under SLURM; one task a GPU, by default two machines of eight.
#   DATA=STORES sbatch --export=ALL experiments/oc20/slurm.sh runs/oc20-l6 [any.key=value ...]
# Start it in the checkout. Five minutes before its time is up every task gets SIGTERM: the run writes
# its checkpoint before the next step and ends with 130, and the job puts itself back into the queue.
# It goes on from there, also after a node failure or a preemption, which requeue it by themselves.
#SBATCH --job-name=equinet-oc20
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=8
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@300
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=slurm-%j.log
set -uo pipefail
run=${1:?give a run directory}
shift
: "${DATA:?give the folder of the splits by DATA=...}"
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
# srun itself returns the largest exit code of the tasks.
srun --kill-on-bad-exit=0 "${PYTHON:-python}" -m equinet.train +experiment=oc20 \
  data.root="$DATA" run.dir="$run" model="${MODEL:-equiformer_v2_l6}" \
  trainer="${TRAINER:-ddp}" trainer.devices="$SLURM_NTASKS_PER_NODE" \
  trainer.num_nodes="$SLURM_JOB_NUM_NODES" trainer.precision="${PRECISION:-bf16-mixed}" \
  model.checkpointing=true data.cutoff=12 data.max_neighbors=20 data.max_edges=10000 \
  data.num_workers=4 optim.lr=2e-4 callbacks.ema.decay=0.999 trainer.max_epochs=12 \
  trainer.max_time=null "$@"
status=$?
if [ "$status" = 130 ]; then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
