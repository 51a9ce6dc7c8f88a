import { serve_page } from './call.mjs'
import { judge } from './judge.mjs'

serve_page(judge, 'worker.mjs')
