/** `npm run manual`: writes the manual pages that the package brings. */
import { writeFileSync } from 'node:fs';
import { manualPages } from './pages.js';

for (const [name, text] of manualPages()) writeFileSync(new URL(`../../man/${name}`, import.meta.url), text);
