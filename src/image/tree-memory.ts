// The memory of a tree and its chunks while an image is made: bounded, whatever the image has. What does not fit is in a file.
import { ARENA_RUN_MAX, COLUMN_PAGE_SIZE } from '../base/columns.ts';
import {
  CHUNK_SIZE_DEFAULT,
  TREE_COLUMNS_MEMORY_MAX,
  TREE_MEMORY_BESIDE_LARGE_CHUNKS_MAX,
  TREE_RUNS_MEMORY_MAX,
} from '../base/limits.ts';
import { PagePool } from '../base/page-pool.ts';

export class TreeMemory implements Disposable {
  /** For columns and tables. */
  readonly columns: PagePool;
  /** For names, link targets and attributes. */
  readonly runs: PagePool;

  /** `directory` is where files are made once something does not fit; they have no names there. */
  constructor(directory: string, chunkSize: number) {
    const sizeMax = (usual: number) => (chunkSize <= CHUNK_SIZE_DEFAULT ? usual : TREE_MEMORY_BESIDE_LARGE_CHUNKS_MAX);
    this.columns = new PagePool({ pageSize: COLUMN_PAGE_SIZE, sizeMax: sizeMax(TREE_COLUMNS_MEMORY_MAX), directory });
    this.runs = new PagePool({ pageSize: ARENA_RUN_MAX, sizeMax: sizeMax(TREE_RUNS_MEMORY_MAX), directory });
  }

  [Symbol.dispose](): void {
    this.columns[Symbol.dispose]();
    this.runs[Symbol.dispose]();
  }
}
