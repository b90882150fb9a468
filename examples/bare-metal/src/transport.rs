//! Virtio behind an IOMMU.
//!
//! A device behind an IOMMU expects its driver to accept `VIRTIO_F_ACCESS_PLATFORM`. The drivers of
//! `virtio-drivers` 0.13 never do, although they use the addresses of a `Hal`, as the flag demands.
//! This adapter accepts the flag for them, and checks that the device agrees.

use virtio_drivers::transport::{DeviceStatus, DeviceType, InterruptStatus, Transport};
use virtio_drivers::{PhysAddr, Result};
use zerocopy::{FromBytes, Immutable, IntoBytes};

const ACCESS_PLATFORM: u64 = 1 << 33;

/// A transport for a driver that gets the device's addresses from a `Hal`.
pub(crate) struct Translated<T> {
    inner: T,
    offered: u64,
}

impl<T> Translated<T> {
    pub(crate) fn new(inner: T) -> Self {
        Self { inner, offered: 0 }
    }
}

impl<T: Transport> Transport for Translated<T> {
    fn read_device_features(&mut self) -> u64 {
        self.offered = self.inner.read_device_features();
        self.offered
    }

    fn write_driver_features(&mut self, features: u64) {
        let features = features | self.offered & ACCESS_PLATFORM;
        self.inner.write_driver_features(features);
    }

    fn device_type(&self) -> DeviceType {
        self.inner.device_type()
    }

    fn max_queue_size(&mut self, queue: u16) -> u32 {
        self.inner.max_queue_size(queue)
    }

    fn notify(&mut self, queue: u16) {
        self.inner.notify(queue);
    }

    fn get_status(&self) -> DeviceStatus {
        self.inner.get_status()
    }

    fn set_status(&mut self, status: DeviceStatus) {
        self.inner.set_status(status);
    }

    fn set_guest_page_size(&mut self, bytes: u32) {
        self.inner.set_guest_page_size(bytes);
    }

    fn requires_legacy_layout(&self) -> bool {
        self.inner.requires_legacy_layout()
    }

    fn queue_set(
        &mut self,
        queue: u16,
        size: u32,
        descriptors: PhysAddr,
        driver_area: PhysAddr,
        device_area: PhysAddr,
    ) {
        self.inner
            .queue_set(queue, size, descriptors, driver_area, device_area);
    }

    fn finish_init(&mut self) {
        self.inner.finish_init();
        let status = self.inner.get_status();
        let agrees = status.contains(DeviceStatus::FEATURES_OK | DeviceStatus::DRIVER_OK);
        // The trait cannot return an error.
        assert!(agrees, "the device refuses its driver: {status:?}");
    }

    fn queue_unset(&mut self, queue: u16) {
        self.inner.queue_unset(queue);
    }

    fn queue_used(&mut self, queue: u16) -> bool {
        self.inner.queue_used(queue)
    }

    fn ack_interrupt(&mut self) -> InterruptStatus {
        self.inner.ack_interrupt()
    }

    fn read_config_generation(&self) -> u32 {
        self.inner.read_config_generation()
    }

    fn read_config_space<V: FromBytes + IntoBytes>(&self, offset: usize) -> Result<V> {
        self.inner.read_config_space(offset)
    }

    fn write_config_space<V: IntoBytes + Immutable>(
        &mut self,
        offset: usize,
        value: V,
    ) -> Result<()> {
        self.inner.write_config_space(offset, value)
    }
}
