//! The ioctls of a media device.

use super::graph::{End, Entity, Kind};
use super::{MediaDevice, VIDEO_MAJOR};
use crate::bytes::{Image, MAX_ARG, field, read_user, write_user};
use crate::{Error, Program, V4l2Outcome, sys};
use vb3_plane::MemOps;

const PAD_DESC: usize = size_of::<sys::media_pad_desc>();
const LINK_DESC: usize = size_of::<sys::media_link_desc>();

/// The flags of a link that never changes.
const FIXED: u32 = sys::MEDIA_LNK_FL_ENABLED | sys::MEDIA_LNK_FL_IMMUTABLE;

/// Writes a whole list to the program's array at `addr`, unless it is NULL.
/// ENOSPC if the array has room for fewer elements of `N` bytes.
fn write_list<M: MemOps, const N: usize, T>(
    program: &dyn Program<M>,
    (mut addr, room): (u64, u32),
    all: impl IntoIterator<Item = T>,
    fill: impl Fn(&mut Image<&mut [u8]>, T),
) -> Result<(), Error> {
    if addr == 0 {
        return Ok(());
    }
    for (index, item) in (0..).zip(all) {
        if index >= room {
            let needed = u32::try_from(N).unwrap_or(u32::MAX);
            return Err(Error::NoSpace { needed });
        }
        let mut bytes = [0; N];
        fill(&mut Image(bytes.as_mut_slice()), item);
        write_user(program, addr, &bytes)?;
        addr = addr.wrapping_add(N as u64);
    }
    Ok(())
}

/// Fills a `media_pad_desc` that begins at `base`.
fn put_pad(out: &mut Image<&mut [u8]>, base: usize, (entity, pad): End<'_>) {
    out.set_u32(base + field!(media_pad_desc.entity), entity.id);
    let index = base + field!(media_pad_desc.index);
    out.set_bytes(index, pad.index.to_ne_bytes());
    out.set_u32(base + field!(media_pad_desc.flags), pad.flags);
}

impl MediaDevice {
    /// Returns the entity with an id; with `MEDIA_ENT_ID_FLAG_NEXT`, the next entity after the id.
    fn find(&self, id: u32) -> Result<&Entity, Error> {
        let next = id & sys::MEDIA_ENT_ID_FLAG_NEXT != 0;
        let id = id & !sys::MEDIA_ENT_ID_FLAG_NEXT;
        let is_it = |entity: &&Entity| {
            if next {
                entity.id > id
            } else {
                entity.id == id
            }
        };
        let mut entities = self.graph.entities.iter();
        entities.find(is_it).ok_or(Error::Invalid)
    }

    /// Answers an ioctl of a media device, without waiting. `arg` is an address in the program.
    pub fn ioctl<M: MemOps>(
        &self,
        request: u32,
        arg: u64,
        program: &dyn Program<M>,
    ) -> V4l2Outcome {
        V4l2Outcome::from(self.run(request, arg, program).map(|()| Some(0)))
    }

    fn run<M: MemOps>(
        &self,
        request: u32,
        arg: u64,
        program: &dyn Program<M>,
    ) -> Result<(), Error> {
        let mut bytes = [0; MAX_ARG];
        // CAST: 14 bits.
        let size = (request >> 16 & 0x3fff) as usize;
        let whole = bytes.get_mut(..size).ok_or(Error::NotTty)?;
        let call = match request {
            sys::MEDIA_IOC_DEVICE_INFO => Self::info,
            sys::MEDIA_IOC_ENUM_ENTITIES => Self::enum_entities,
            sys::MEDIA_IOC_ENUM_LINKS => Self::enum_links,
            sys::MEDIA_IOC_SETUP_LINK => Self::setup_link,
            sys::MEDIA_IOC_G_TOPOLOGY => Self::topology,
            _ => return Err(Error::NotTty),
        };
        read_user(program, arg, whole)?;
        call(self, &mut Image(whole), program)?;
        write_user(program, arg, whole)
    }

    #[expect(clippy::unnecessary_wraps, reason = "all calls share this signature")]
    fn info<M: MemOps>(&self, out: &mut Image<&mut [u8]>, _: &dyn Program<M>) -> Result<(), Error> {
        out.clear_from(0);
        let texts = [
            (field!(media_device_info.driver), 16, &self.identity.driver),
            (field!(media_device_info.model), 32, &self.identity.card),
            (field!(media_device_info.serial), 40, &self.identity.serial),
            (
                field!(media_device_info.bus_info),
                32,
                &self.identity.bus_info,
            ),
        ];
        for (at, len, text) in texts {
            out.set_text(at, len, text);
        }
        out.set_u32(field!(media_device_info.media_version), sys::API_VERSION);
        out.set_u32(field!(media_device_info.driver_version), sys::API_VERSION);
        out.set_u32(
            field!(media_device_info.hw_revision),
            self.identity.revision,
        );
        Ok(())
    }

    fn enum_entities<M: MemOps>(
        &self,
        out: &mut Image<&mut [u8]>,
        _: &dyn Program<M>,
    ) -> Result<(), Error> {
        let entity = self.find(out.u32(field!(media_entity_desc.id)))?;
        out.clear_from(0);
        out.set_u32(field!(media_entity_desc.id), entity.id);
        out.set_text(field!(media_entity_desc.name), 32, &self.name_of(entity));
        // MEDIA_IOC_ENUM_ENTITIES reports newer entity functions (`MEDIA_ENT_F_*`) as unknown, as on Linux.
        let old = match entity.kind {
            Kind::Node => sys::MEDIA_ENT_F_IO_V4L,
            Kind::Processor => sys::MEDIA_ENT_T_DEVNODE_UNKNOWN,
            Kind::Subdevice(function) if function >= sys::MEDIA_ENT_F_OLD_BASE => function,
            Kind::Subdevice(_) => sys::MEDIA_ENT_F_V4L2_SUBDEV_UNKNOWN,
        };
        out.set_u32(field!(media_entity_desc.type_), old);
        out.set_u32(field!(media_entity_desc.flags), entity.flags);
        let counts = [
            (field!(media_entity_desc.pads), entity.pads.len()),
            (
                field!(media_entity_desc.links),
                self.graph.links_of(entity.id).count(),
            ),
        ];
        for (at, count) in counts {
            let count = u16::try_from(count).unwrap_or(u16::MAX);
            out.set_bytes(at, count.to_ne_bytes());
        }
        let minor = self.graph.interface_of(entity.id);
        if let Some(minor) = minor.and_then(|at| self.minors.get(at)) {
            let at = field!(media_entity_desc.__bindgen_anon_1);
            out.set_u32(at, VIDEO_MAJOR);
            out.set_u32(at + 4, *minor);
        }
        Ok(())
    }

    fn enum_links<M: MemOps>(
        &self,
        out: &mut Image<&mut [u8]>,
        program: &dyn Program<M>,
    ) -> Result<(), Error> {
        let entity = self.find(out.u32(field!(media_links_enum.entity)))?;
        let pads = out.u64(field!(media_links_enum.pads));
        write_list::<M, PAD_DESC, _>(
            program,
            (pads, u32::MAX),
            entity.pads.iter(),
            |image, pad| put_pad(image, 0, (entity, pad)),
        )?;
        let links = out.u64(field!(media_links_enum.links));
        write_list::<M, LINK_DESC, _>(
            program,
            (links, u32::MAX),
            self.graph.links_of(entity.id),
            |image, (link, source, sink)| {
                put_pad(image, field!(media_link_desc.source), source);
                put_pad(image, field!(media_link_desc.sink), sink);
                image.set_u32(field!(media_link_desc.flags), self.link_flags(link));
            },
        )?;
        out.clear(field!(media_links_enum.reserved), 16);
        Ok(())
    }

    /// Source: Linux 7.2 `media_device_setup_link`.
    fn setup_link<M: MemOps>(
        &self,
        out: &mut Image<&mut [u8]>,
        _: &dyn Program<M>,
    ) -> Result<(), Error> {
        let end = |base: usize| {
            let id = out.u32(base + field!(media_pad_desc.entity));
            let index = out.bytes(base + field!(media_pad_desc.index));
            let index = u16::from_ne_bytes(index);
            Ok::<_, Error>((self.find(id)?.id, index))
        };
        let source = end(field!(media_link_desc.source))?;
        let sink = end(field!(media_link_desc.sink))?;
        let is_it = |&(_, from, to): &(usize, End<'_>, End<'_>)| {
            (from.1.index, (to.0.id, to.1.index)) == (source.1, sink)
        };
        let found = self.graph.links_of(source.0).find(is_it);
        let (link, ..) = found.ok_or(Error::Invalid)?;
        let flags = out.u32(field!(media_link_desc.flags));
        match &self.state {
            Some(state) => state.set_link(link, flags)?,
            None if flags == FIXED => {}
            None => return Err(Error::Invalid),
        }
        out.clear(field!(media_link_desc.reserved), 8);
        Ok(())
    }

    fn topology<M: MemOps>(
        &self,
        out: &mut Image<&mut [u8]>,
        program: &dyn Program<M>,
    ) -> Result<(), Error> {
        const ENTITY: usize = size_of::<sys::media_v2_entity>();
        const INTF: usize = size_of::<sys::media_v2_interface>();
        const PAD: usize = size_of::<sys::media_v2_pad>();
        const LINK: usize = size_of::<sys::media_v2_link>();
        let graph = &self.graph;
        let counts = [
            field!(media_v2_topology.num_entities),
            field!(media_v2_topology.num_interfaces),
            field!(media_v2_topology.num_pads),
            field!(media_v2_topology.num_links),
        ];
        // At each offset: the count, four reserved bytes, the pointer.
        let arrays = counts.map(|at| (out.u64(at + 8), out.u32(at)));
        let [entities, interfaces, pads, links] = arrays;
        write_list::<M, ENTITY, _>(program, entities, graph.entities.iter(), |image, entity| {
            image.set_u32(field!(media_v2_entity.id), entity.id);
            image.set_text(field!(media_v2_entity.name), 64, &self.name_of(entity));
            image.set_u32(field!(media_v2_entity.function), self.function_of(entity));
            image.set_u32(field!(media_v2_entity.flags), entity.flags);
        })?;
        let all_interfaces = graph.interfaces.iter().zip(&self.minors);
        write_list::<M, INTF, _>(program, interfaces, all_interfaces, |image, (of, minor)| {
            image.set_u32(field!(media_v2_interface.id), of.id);
            image.set_u32(field!(media_v2_interface.intf_type), of.kind);
            let node = field!(media_v2_interface.__bindgen_anon_1);
            image.set_u32(node, VIDEO_MAJOR);
            image.set_u32(node + 4, *minor);
        })?;
        let all_pads = graph
            .entities
            .iter()
            .flat_map(|entity| entity.pads.iter().map(move |pad| (entity, pad)));
        write_list::<M, PAD, _>(program, pads, all_pads.clone(), |image, (entity, pad)| {
            image.set_u32(field!(media_v2_pad.id), pad.id);
            image.set_u32(field!(media_v2_pad.entity_id), entity.id);
            image.set_u32(field!(media_v2_pad.flags), pad.flags);
            image.set_u32(field!(media_v2_pad.index), pad.index.into());
        })?;
        let data = graph.links.iter().enumerate().filter_map(|(index, link)| {
            let (source, sink) = (graph.at(link.source)?, graph.at(link.sink)?);
            Some((link.id, source.1.id, sink.1.id, self.link_flags(index)))
        });
        let beside = FIXED | sys::MEDIA_LNK_FL_ANCILLARY_LINK;
        let ancillary = graph.ancillary.iter();
        let ancillary = ancillary.map(|&(id, from, to)| (id, from, to, beside));
        let to_node = FIXED | sys::MEDIA_LNK_FL_INTERFACE_LINK;
        let nodes = graph.interfaces.iter().flat_map(|of| {
            let links = of.links.iter();
            links.map(|&(id, entity)| (id, of.id, entity, to_node))
        });
        let mut all_links: Vec<_> = data.chain(ancillary).chain(nodes).collect();
        // As on Linux, in the order of registration.
        all_links.sort_unstable_by_key(|(id, ..)| *id);
        write_list::<M, LINK, _>(program, links, &all_links, |image, link| {
            let &(id, source, sink, flags) = link;
            image.set_u32(field!(media_v2_link.id), id);
            image.set_u32(field!(media_v2_link.source_id), source);
            image.set_u32(field!(media_v2_link.sink_id), sink);
            image.set_u32(field!(media_v2_link.flags), flags);
        })?;
        let version = u64::from(graph.version);
        out.set_u64(field!(media_v2_topology.topology_version), version);
        let found = [
            graph.entities.len(),
            graph.interfaces.len(),
            all_pads.count(),
            all_links.len(),
        ];
        for (at, count) in counts.into_iter().zip(found) {
            out.set_u32(at, u32::try_from(count).unwrap_or(u32::MAX));
            out.clear(at + 4, 4);
        }
        Ok(())
    }
}
