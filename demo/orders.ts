// Messages as a shop would send them: one order a message, as a line of csv, the same for the same number.

/** The columns of a message, in order. */
export const orderColumns = `
  order_id   bigint,
  placed_at  timestamptz,
  customer   text,
  country    text,
  product    text,
  quantity   integer,
  price      numeric(10,2)`

const customers = [
  ...['Ada Byron', 'Grace Murray', 'Edgar Codd', 'Barbara Jane Huberman', 'Donald Ervin', 'Jim Gray'],
  ...['Radia Joy', 'Frances Spence', 'Alan Mathison', 'Margaret Elaine', 'Leslie B.', 'Katherine Coleman'],
]
const countries = ['DE', 'FR', 'GB', 'IN', 'JP', 'KE', 'MX', 'NO', 'NZ', 'PL', 'US', 'UY']
const products: [name: string, price: number][] = [
  ['Stoneground flour 1 kg', 3.4],
  ['Rye flour, organic', 4.2],
  ['Sieve 30 cm', 24],
  ['Millstone dressing pick', 61.5],
  ['Oak bucket, 12 l', 89],
  ['Sack, "miller\'s best"', 2.75],
  ['Leather belt 3 m', 47.8],
  ['Oat flakes 500 g', 2.1],
]

export interface Order {
  /** Orders of one customer stay in order, as messages with one key do. */
  key: string
  csv: string
}

export function order(id: number, placedAt: Date): Order {
  // Neighbouring numbers must not give neighbouring choices; any odd multiplier of this size will do.
  const dice = Math.imul(id, 0x9e3779b1) >>> 0
  const customer = customers[dice % customers.length]!
  const country = countries[(dice >>> 8) % countries.length]!
  const [product, price] = products[(dice >>> 16) % products.length]!
  const quantity = 1 + ((dice >>> 24) % 9)
  const fields = [
    id,
    placedAt.toISOString(),
    customer,
    country,
    product,
    quantity,
    (quantity * price).toFixed(2),
  ]
  return { key: `${customer} ${country}`, csv: fields.map((field) => quoted(String(field))).join(',') }
}

function quoted(field: string): string {
  return /[",\n]/.test(field) ? `"${field.replaceAll('"', '""')}"` : field
}
