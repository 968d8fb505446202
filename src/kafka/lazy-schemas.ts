// From the import of this module until `compileAtOnce` is called, Ajv compiles a schema when it is first used.

import { createRequire } from 'node:module'

interface Validator {
  (data: unknown): unknown
  /** What the last call found. */
  errors?: unknown
}

interface Ajv {
  compile(schema: unknown, meta?: boolean): Validator
}

// The library's own Ajv, which need not be one that this project would find.
const ofTheLibrary = createRequire(import.meta.resolve('@platformatic/kafka'))
const { prototype }: { prototype: Ajv } = ofTheLibrary('ajv/dist/core').default
const { compile } = prototype

prototype.compile = function (this: Ajv, schema, meta) {
  let compiled: Validator | undefined
  const validate: Validator = (data) => {
    compiled ??= compile.call(this, schema, meta)
    const valid = compiled(data)
    validate.errors = compiled.errors
    return valid
  }
  return validate
}

export function compileAtOnce(): void {
  prototype.compile = compile
}
