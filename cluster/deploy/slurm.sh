#!/bin/bash
# A sweep on the nodes of a SLURM job that is requeued until it is done: sbatch cluster/deploy/slurm.sh SWEEP.yaml OUTPUT [OPTION...]
# from a folder that all nodes share, with `dualsweep` on the PATH. OUTPUT is a shared folder. Three minutes before its time is up the sweep
# writes down where it is, and the job goes back into the queue.
#SBATCH --job-name=dualsweep
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --time=04:00:00
#SBATCH --signal=B:USR1@180
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail
sweep=${1:?"give a sweep's file"}
output=${2:?"give an output folder that all nodes share"}
shift 2

# Ray listens on all interfaces: without a token whoever is on the nodes' network could run code here.
export RAY_AUTH_MODE=token
ray get-auth-token --generate >/dev/null

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
address=${nodes[0]}:$((20000 + SLURM_JOB_ID % 10000))  # jobs of others may share the node
started=()
on() { # NODE COMMAND...: a step on one node, beside the others
  local node=$1
  shift
  srun --nodes=1 --ntasks=1 --nodelist="$node" --overlap "$@" --num-cpus="$SLURM_CPUS_PER_TASK" --num-gpus="${SLURM_GPUS_ON_NODE:-0}" --block &
  started+=($!)
}
finish() { kill "${started[@]}" 2>/dev/null || true; }
trap finish EXIT

on "${nodes[0]}" ray start --head --node-ip-address="${nodes[0]}" --port="${address##*:}"
for _ in $(seq 60); do
  ray status --address="$address" >/dev/null 2>&1 && break
  sleep 2
done
for node in "${nodes[@]:1}"; do on "$node" ray start --address="$address"; done

requeue=
dualsweep sweep "$sweep" --output "$output" --address "$address" "$@" &
driver=$!
trap 'requeue=yes; kill -TERM $driver' USR1
code=0
wait "$driver" || code=$?
if [[ $requeue ]]; then
  code=0
  wait "$driver" || code=$?  # the first wait ended with the signal, the sweep only now
  if [[ $code -eq 130 || $code -eq 143 ]]; then scontrol requeue "$SLURM_JOB_ID"; fi
fi
exit "$code"
