//! Times exact search among all records: `exact-knn FILE DIM K`, where `FILE` holds 32-bit floats,
//! row after row. Prints the seconds and, for comparison with others, the sum of all distances.
//! The number of threads is rayon's (`RAYON_NUM_THREADS`).

#![expect(clippy::print_stdout, reason = "a program for the terminal")]

use std::error::Error;
use std::time::Instant;

use lazaretto_features::NeighborSearch;
use ndarray::Array2;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file, dim, k] = arguments.as_slice() else {
        return Err("usage: exact-knn FILE DIM K".into());
    };
    let (dim, k): (usize, usize) = (dim.parse()?, k.parse()?);
    let bytes = std::fs::read(file)?;
    let (chunks, _) = bytes.as_chunks::<4>();
    let values: Vec<f32> = chunks
        .iter()
        .map(|&chunk| f32::from_le_bytes(chunk))
        .collect();
    let vectors = Array2::from_shape_vec((values.len() / dim.max(1), dim), values)?;
    let n = vectors.nrows();
    let started = Instant::now();
    let neighbors = NeighborSearch::new(vectors, k).among_each_other();
    let seconds = started.elapsed().as_secs_f64();
    let total: f64 = neighbors.distances.iter().map(|&d| f64::from(d)).sum();
    println!("{n} x {dim}, k = {k}: {seconds:.2} s, sum of distances {total:.6e}");
    Ok(())
}
