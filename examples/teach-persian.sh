#!/usr/bin/env bash
# Teaches the embedded voice Persian, with figures before and after on sentences held out.
#
#   examples/teach-persian.sh [FOLDER]
#
# The teacher is eSpeak NG's Persian voice. Needs espeak-ng (apt install espeak-ng) and loquor[train,eval]; see
# docs/teach-persian.md. When run again, it goes on where it was.
set -euo pipefail

out=${1:-./taught-persian}
sentences=${SENTENCES:-1800}
steps=${STEPS:-1500}
here=$(dirname "${BASH_SOURCE[0]}")
export LOQUOR_VOICES=$out/voices  # voices of this example, apart from yours

python -m loquor.training.teachers espeak-ng fa --language fa --sentences "$sentences" \
    --held-out "${HELD_OUT:-50}" --out "$out"

# The embedded voice reads phonemes of English: it gets the letters of Persian, each beginning as a phoneme like it.
[ -e "$out/base/config.json" ] || loquor convert embedded "$out/base" --alphabet fa
loquor data prepare "$out/recordings" "$out/prepared" --language fa --model "$out/base"

if [ ! -e "$out/voices/parsa.safetensors" ]; then
    longest=$(find "$out/recordings" -name '*.wav' -printf '%s %p\n' | sort -n | sed -n '$s/^[0-9]* //p')
    loquor voices create parsa --for realtime --model "$out/base" --audio "$longest" --text "$(cat "${longest%.wav}.txt")" \
        --language fa --consent "a synthetic voice" --accept-anyway
fi

before() { [ -e "$1" ] || python "$here/../benchmarks/taught.py" "$out/held_out" --language fa "${@:2}" --json "$1"; }

before "$out/before.json" --model "$out/base"
before "$out/prompted.json" --model "$out/base" --voice parsa
loquor train realtime-full model="$out/base" data="$out/prepared" out="$out/run" voice=parsa \
    optimiser.steps="$steps" optimiser.warmup_steps=100 optimiser.learning_rate=5e-4 batch.accumulation=2
python "$here/../benchmarks/taught.py" "$out/held_out" --language fa --model "$out/run/model" --voice parsa \
    --json "$out/after.json"
