/* Samples as a wav file, which says that it is synthetic, and files of any kind the browser knows as samples. */

const COMMENT = "AI-generated speech (Loquor)";

/** A wav file, 16 bit, mono. With `isSynthetic` its comment says so. */
export function wavFile(chunks, rate, isSynthetic) {
  const length = chunks.reduce((sum, chunk) => sum + chunk.length, 0);
  const comment = isSynthetic ? commentChunk(COMMENT) : new Uint8Array();
  const head = new DataView(new ArrayBuffer(44));
  const text = (at, letters) => [...letters].forEach((letter, i) => head.setUint8(at + i, letter.charCodeAt(0)));
  text(0, "RIFF");
  head.setUint32(4, 36 + 2 * length + comment.length, true);
  text(8, "WAVEfmt ");
  head.setUint32(16, 16, true);
  head.setUint16(20, 1, true); // PCM
  head.setUint16(22, 1, true); // one channel
  head.setUint32(24, rate, true);
  head.setUint32(28, 2 * rate, true);
  head.setUint16(32, 2, true);
  head.setUint16(34, 16, true);
  text(36, "data");
  head.setUint32(40, 2 * length, true);
  return new Blob([head, ...chunks.map(toPcm16), comment], { type: "audio/wav" });
}

function toPcm16(samples) {
  const view = new DataView(new ArrayBuffer(2 * samples.length));
  samples.forEach((sample, i) => view.setInt16(2 * i, Math.max(-32768, Math.min(32767, Math.round(32768 * sample))), true));
  return view;
}

/** A LIST chunk of type INFO with a comment, of even length. */
function commentChunk(comment) {
  const letters = new TextEncoder().encode(comment + (comment.length % 2 ? "\0" : "\0\0"));
  const chunk = new Uint8Array(20 + letters.length);
  const view = new DataView(chunk.buffer);
  chunk.set(new TextEncoder().encode("LIST"));
  view.setUint32(4, 12 + letters.length, true);
  chunk.set(new TextEncoder().encode("INFOICMT"), 8);
  view.setUint32(16, letters.length, true);
  chunk.set(letters, 20);
  return chunk;
}

/** The samples of an audio file, one channel at `rate`; throws if the browser cannot read it. */
export async function decoded(file, rate) {
  const sound = await new OfflineAudioContext(1, 1, rate).decodeAudioData(await file.arrayBuffer());
  const mixed = new Float32Array(sound.length);
  for (let channel = 0; channel < sound.numberOfChannels; channel++)
    sound.getChannelData(channel).forEach((sample, i) => (mixed[i] += sample / sound.numberOfChannels));
  return mixed;
}
