// Text chunks of a PNG.

const latin = new TextDecoder("latin1");
const utf8 = new TextDecoder();

function international(bytes, zero) {
  const [compressed, method] = [bytes[zero + 1], bytes[zero + 2]];
  if (compressed || method) return "(compressed)";
  const language = bytes.indexOf(0, zero + 3);
  return utf8.decode(bytes.subarray(bytes.indexOf(0, language + 1) + 1));
}

function entry(kind, bytes) {
  const zero = bytes.indexOf(0);
  const key = latin.decode(bytes.subarray(0, zero));
  return [key, kind === "tEXt" ? latin.decode(bytes.subarray(zero + 1)) : international(bytes, zero)];
}

/** Returns [[keyword, text], ...] of the tEXt and iTXt chunks. */
export async function chunksOf(png) {
  const buffer = await png.arrayBuffer();
  const view = new DataView(buffer);
  const found = [];
  for (let at = 8; at + 8 <= view.byteLength; at += 12 + view.getUint32(at)) {
    const kind = latin.decode(new Uint8Array(buffer, at + 4, 4));
    if (kind === "tEXt" || kind === "iTXt") found.push(entry(kind, new Uint8Array(buffer, at + 8, view.getUint32(at))));
  }
  return found;
}
