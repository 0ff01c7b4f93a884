#!/usr/bin/env bash
# Trains VITA-Audio from nothing, small enough for one processor core: a model that writes down what it hears, reads
# texts aloud and answers sums, in some fifty words, through all four stages; with word error rates on held-out sentences.
#
#   examples/converse-small.sh [FOLDER]
#
# Needs festival with the voice cmu_us_slt_arctic_hts (apt install festival festvox-us-slt-hts) and loquor[train,eval];
# see docs/converse-training.md. When run again, it goes on where it was.
set -euo pipefail

out=${1:-./converse-small}
codec=${CODEC:-embedded} # the Realtime model whose codec is quantised
steps=${STEPS:-900}      # of the first stage
here=$(dirname "${BASH_SOURCE[0]}")
talks=$out/talks

has() { [ -e "$1" ]; }

has "$talks/held_out.yaml" || python -m loquor.training.vita.small_talk --out "$talks" --sentences "${SENTENCES:-2400}"
has "$out/tokenizer/config.json" || loquor quantise "$out/tokenizer" --data "$talks/supervised.yaml" -m "$codec"
has "$out/base/config.json" || loquor base "$out/base" --data "$talks/supervised.yaml" --audio "$out/tokenizer" \
    --pieces 512 --hidden 192 --layers 4 --heads 4 --context 1024

# A recipe, the model to start from, its data, steps and learning rate, and what else is not as for 7 billion weights.
stage() {
    has "$out/$1/model/config.json" || loquor train "vita-$1" model="$2" data="$talks/$3.yaml" out="$out/$1" \
        optimiser.steps="$4" optimiser.warmup_steps=$(($4 / 25 + 1)) optimiser.learning_rate="$5" \
        optimiser.precision=float32 batch.length=1024 batch.accumulation=1 batch.checkpointing=false \
        audio.folder="$out/tokenizer" validation="$talks/held_out.yaml" watch.validation_items=8 \
        watch.save_every=100 watch.validate_every=100 "${@:6}"
}

stage alignment "$out/base" alignment "$steps" 2e-3
stage one-module "$out/alignment/model" alignment $((steps / 6)) 2e-3
stage ten-modules "$out/one-module/model" alignment $((steps * 2 / 9)) 1.5e-3
stage supervised "$out/ten-modules/model" supervised $((steps * 4 / 3)) 7e-4 optimiser.modules_rate=2

# What each stage came to: word error rates of listening and speaking, with the modules and without.
measure() {
    has "$out/$1.json" || python "$here/../benchmarks/converse.py" "$out/$1/model" --audio-tokenizer "$out/tokenizer" \
        --data "$talks/held_out/speech.jsonl" --count "${COUNT:-60}" --modes "$2" --json "$out/$1.json"
}

measure alignment vanilla
measure ten-modules vanilla,boost
measure supervised vanilla,boost
