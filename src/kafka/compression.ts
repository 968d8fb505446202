// Decompression never holds the event loop for long: gzip and zstd run in zlib's own threads. Snappy and lz4 are the
// client library's WebAssembly, a batch (at most the topic's max.message.bytes) at a time. No batch grows past a
// limit: how large snappy and lz4 will be is read from their headers before anything is decompressed.

import { promisify } from 'node:util'
import zlib from 'node:zlib'
import { MillraceError } from '../errors.ts'
import { compressionsAlgorithms } from './library.ts'
import type { BatchPlace } from './record-batch.ts'

const gunzip = promisify(zlib.gunzip)
const zstdDecompress = promisify(zlib.zstdDecompress)

const codecs: Record<number, (payload: Buffer, limit: number) => Buffer | Promise<Buffer>> = {
  1: (payload, limit) => gunzip(payload, { maxOutputLength: limit }),
  2: (payload, limit) => decompressSnappy(payload, limit),
  3: (payload, limit) => decompressLz4(payload, limit),
  4: (payload, limit) => zstdDecompress(payload, { maxOutputLength: limit }),
}

class TooLarge extends Error {}

/**
 * The records of a batch, uncompressed.
 * @param limit bytes that they may have
 * @throws MillraceError compression-unsupported, record-batch-corrupt, message-too-large
 */
export async function decompress(
  codec: number,
  payload: Buffer,
  limit: number,
  where: BatchPlace,
): Promise<Buffer> {
  if (codec === 0) return payload
  const decode = codecs[codec]
  if (!decode) throw new MillraceError('compression-unsupported', { ...where, codec })
  try {
    const records = await decode(payload, limit)
    checkSize(records.length, limit)
    return records
  } catch (cause) {
    const tooLarge = cause instanceof TooLarge || (cause as { code?: string }).code === 'ERR_BUFFER_TOO_LARGE'
    if (tooLarge) throw new MillraceError('message-too-large', { ...where, limit })
    throw new MillraceError('record-batch-corrupt', { ...where, reason: 'it cannot be decompressed', cause })
  }
}

/** The Java client frames snappy as the xerial library does: magic, two versions, then length-prefixed blocks. */
const xerialMagic = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0])
const xerialHeader = 16

function decompressSnappy(payload: Buffer, limit: number): Buffer {
  const blocks: Buffer[] = []
  if (payload.subarray(0, xerialMagic.length).equals(xerialMagic)) {
    for (let at = xerialHeader; at < payload.length; ) {
      const size = payload.readInt32BE(at)
      blocks.push(payload.subarray(at + 4, at + 4 + size))
      at += 4 + size
    }
  } else blocks.push(payload)
  checkSize(
    blocks.reduce((sum, block) => sum + snappySize(block), 0),
    limit,
  )
  return Buffer.concat(
    blocks.map((block) => Buffer.from(compressionsAlgorithms.snappy.decompressSync(block))),
  )
}

/** A snappy block begins with its uncompressed length, a varint. */
function snappySize(block: Buffer): number {
  let size = 0
  for (let i = 0; i < 5; i++) {
    const byte = block[i] ?? 0
    size += (byte & 0x7f) * 2 ** (7 * i)
    if (byte < 0x80) break
  }
  return size
}

function decompressLz4(payload: Buffer, limit: number): Buffer {
  checkSize(lz4Size(payload), limit)
  return Buffer.from(compressionsAlgorithms.lz4.decompressSync(payload))
}

/**
 * At most so many bytes come out of a frame: its blocks are full, but for the last one.
 * https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md
 */
function lz4Size(frame: Buffer): number {
  const flags = frame[4] ?? 0
  const blockLimit = 2 ** (8 + 2 * (((frame[5] ?? 0) >> 4) & 7))
  const blockChecksum = flags & 0x10 ? 4 : 0
  let at = 7 + (flags & 0x08 ? 8 : 0) + (flags & 0x01 ? 4 : 0)
  let blocks = 0
  while (at + 4 <= frame.length) {
    const word = frame.readUInt32LE(at)
    if (word === 0) break
    blocks++
    at += 4 + (word & 0x7fffffff) + blockChecksum
  }
  return Math.max(0, blocks - 1) * blockLimit
}

function checkSize(size: number, limit: number): void {
  if (size > limit) throw new TooLarge()
}
