export async function requireSchema(_s: unknown): Promise<void> {}
