//! The smallest program that counts: its size beyond an empty program is the cost of the library.
//!
//! The features of the package select its calls. `bin/firmware --size` measures it; it never runs.

#![no_std]
#![no_main]

#[cfg(target_arch = "arm")]
use cortex_m as _;
#[cfg(target_arch = "riscv32")]
use riscv as _;

#[cfg(feature = "series")]
const SERIES: usize = 1;
#[cfg(all(feature = "integers", not(feature = "series")))]
const SERIES: usize = 0;

#[cfg(feature = "integers")]
static STATS: statvent::Registry<16, SERIES, 0> = statvent::Registry::new();

/// The sizes that the core's README quotes: a stat with a literal name, a series, and a small registry.
#[cfg(feature = "integers")]
const _: () = {
    use statvent::Registry;

    let of_32_stats = size_of::<Registry<64, 0, 0>>() - size_of::<Registry<32, 0, 0>>();
    assert!(of_32_stats == 32 * 20, "a stat takes 20 bytes");
    let of_2_series = size_of::<Registry<2, 4, 0>>() - size_of::<Registry<2, 2, 0>>();
    assert!(of_2_series == 2 * 820, "a series takes 820 bytes");
    assert!(
        size_of::<Registry<16, 1, 0>>() <= 16 * 20 + 820 + 40,
        "a registry takes at most 40 bytes by itself"
    );
};

fn run() -> ! {
    #[cfg(feature = "integers")]
    {
        use statvent::{incr, set};

        incr!(STATS, "requests", port::input());
        set!(STATS, "queue.depth", port::input());
        #[cfg(feature = "floats")]
        set!(STATS, "volts", port::input() as f32);
        #[cfg(feature = "floats")]
        incr!(STATS, "joules", port::input() as f32);
        #[cfg(feature = "series")]
        statvent::record!(STATS, "latency.{0}.ticks", port::input());

        let mut snapshot = STATS.snapshot();
        let mut line = [0; 64];
        while let Ok(n_bytes @ 1..) = snapshot.fill(&mut line) {
            port::output(line.get(..n_bytes).unwrap_or_default());
        }
    }
    #[cfg(feature = "json")]
    {
        let mut json = [0; 256];
        let n_bytes = STATS.reader().write_json(&mut json).unwrap_or(0);
        port::output(json.get(..n_bytes).unwrap_or_default());
    }
    #[expect(clippy::empty_loop, reason = "the program ends here")]
    loop {}
}

/// Volatile registers in place of a sensor and a serial port, so that the compiler cannot remove the calls.
#[cfg(feature = "integers")]
mod port {
    const SENSOR: *const i32 = 0x4000_0000 as *const i32;
    const SERIAL: *mut u8 = 0x4000_0004 as *mut u8;

    pub(crate) fn input() -> i32 {
        // SAFETY: the address is that of an aligned register, and no Rust object is there.
        unsafe { SENSOR.read_volatile() }
    }

    pub(crate) fn output(bytes: &[u8]) {
        for byte in bytes {
            // SAFETY: as in `input`.
            unsafe { SERIAL.write_volatile(*byte) };
        }
    }
}

#[cfg(target_arch = "arm")]
#[cortex_m_rt::entry]
fn main() -> ! {
    run()
}

/// The entry point. It sets up no memory: the program is only linked, never run.
#[cfg(target_arch = "riscv32")]
#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    run()
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    #[expect(clippy::empty_loop, reason = "there is no output for the message")]
    loop {}
}
