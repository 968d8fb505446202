// Decompression never holds the event loop for long: gzip and zstd run in zlib's own threads. Snappy and
// lz4 are the client library's WebAssembly, a batch (at most the topic's max.message.bytes) at a time.

import { promisify } from 'node:util'
import zlib from 'node:zlib'
import { compressionsAlgorithms } from '@platformatic/kafka'
import { MillraceError } from '../errors.ts'
import type { BatchPlace } from './record-batch.ts'

const gunzip = promisify(zlib.gunzip)
const zstdDecompress = promisify(zlib.zstdDecompress)

const codecs: Record<number, (payload: Buffer) => Buffer | Promise<Buffer>> = {
  1: (payload) => gunzip(payload),
  2: (payload) => unframeSnappy(payload),
  3: (payload) => Buffer.from(compressionsAlgorithms.lz4.decompressSync(payload)),
  4: (payload) => zstdDecompress(payload),
}

/**
 * The records of a batch, uncompressed.
 * @throws MillraceError compression-unsupported, record-batch-corrupt
 */
export async function decompress(codec: number, payload: Buffer, where: BatchPlace): Promise<Buffer> {
  if (codec === 0) return payload
  const decode = codecs[codec]
  if (!decode) throw new MillraceError('compression-unsupported', { ...where, codec })
  try {
    return await decode(payload)
  } catch (cause) {
    throw new MillraceError('record-batch-corrupt', { ...where, reason: 'it cannot be decompressed', cause })
  }
}

/** The Java client frames snappy as the xerial library does: magic, two versions, then length-prefixed blocks. */
const xerialMagic = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0])
const xerialHeader = 16

function unframeSnappy(payload: Buffer): Buffer {
  const decode = (block: Buffer) => Buffer.from(compressionsAlgorithms.snappy.decompressSync(block))
  if (!payload.subarray(0, xerialMagic.length).equals(xerialMagic)) return decode(payload)
  const blocks: Buffer[] = []
  for (let at = xerialHeader; at < payload.length; ) {
    const size = payload.readInt32BE(at)
    blocks.push(decode(payload.subarray(at + 4, at + 4 + size)))
    at += 4 + size
  }
  return Buffer.concat(blocks)
}
