#!/usr/bin/env bash
# Teaches the embedded voice a second English speaker by LoRA, with figures before and after on sentences held out.
#
#   examples/teach-speaker.sh [FOLDER]
#
# The speaker is flite's voice awb. Needs flite (apt install flite) and loquor[train,eval]; see
# docs/teach-speaker.md. When run again, it goes on where it was.
set -euo pipefail

out=${1:-./taught-speaker}
sentences=${SENTENCES:-1200}
steps=${STEPS:-600}
here=$(dirname "${BASH_SOURCE[0]}")
export LOQUOR_VOICES=$out/voices  # voices of this example, apart from yours

python -m loquor.training.teachers flite awb --sentences "$sentences" --held-out "${HELD_OUT:-50}" --out "$out"
loquor data prepare "$out/recordings" "$out/prepared" --language en

# A voice for the prompt, of the longest recording; alone it is not good enough, and that is what the training is for.
if [ ! -e "$out/voices/awb.safetensors" ]; then
    longest=$(find "$out/recordings" -name '*.wav' -printf '%s %p\n' | sort -n | sed -n '$s/^[0-9]* //p')
    loquor voices create awb --for realtime --audio "$longest" --text "$(cat "${longest%.wav}.txt")" \
        --language en --consent "a synthetic voice" --accept-anyway
fi

before() { [ -e "$1" ] || python "$here/../benchmarks/taught.py" "$out/held_out" "${@:2}" --json "$1"; }

before "$out/before.json"
before "$out/prompted.json" --voice awb
loquor train realtime-lora data="$out/prepared" out="$out/run" voice=awb \
    optimiser.steps="$steps" optimiser.warmup_steps=50 optimiser.learning_rate=3e-4 batch.accumulation=2

# The model to keep: the adapter at part of its strength, by which fewer words are lost, and the speaker its default.
loquor convert embedded "$out/model" --adapter "$out/run/adapter@${STRENGTH:-0.7}" --force
cp "$out/voices/awb.safetensors" "$out/model/voices/"
echo '{"voice": "awb", "guidance": 3.0, "steps": 8, "temperature": 0.5}' > "$out/model/loquor.json"
python "$here/../benchmarks/taught.py" "$out/held_out" --model "$out/model" --json "$out/after.json"
