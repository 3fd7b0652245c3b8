//! What every default policy needs to live without the standard library: an allocator and an end
//! for panics. Without `std` a component is a quarter of the size, and it is read, verified and
//! mapped by every `hythe` process that needs it.

#![no_std]

pub use lol_alloc::{AssumeSingleThreaded, LeakingAllocator};

/// Installs the allocator and the panic handler of a policy.
///
/// Memory is never given back: an instance answers one question and is thrown away whole. A panic
/// ends as a trap, which the host reports with the names of the functions it came through.
#[macro_export]
macro_rules! runtime {
    () => {
        // SAFETY: a policy component has no threads.
        #[cfg(target_arch = "wasm32")]
        #[global_allocator]
        static ALLOCATOR: $crate::AssumeSingleThreaded<$crate::LeakingAllocator> =
            unsafe { $crate::AssumeSingleThreaded::new($crate::LeakingAllocator::new()) };

        #[cfg(target_arch = "wasm32")]
        #[panic_handler]
        fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
            core::arch::wasm32::unreachable()
        }
    };
}
