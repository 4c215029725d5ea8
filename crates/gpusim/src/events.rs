//! [`Events`]: KFD's events, which programs wait for (kernel `drivers/gpu/drm/amd/amdkfd/kfd_events.c`).

use std::collections::BTreeMap;
use std::time::Duration;

use crate::errno::Errno;
use crate::kfd_abi::{EventData, WaitEvents, event_type, wait_result};
use crate::memory::{self, Memory};

/// `KFD_SIGNAL_EVENT_LIMIT`: most events of a process.
const MOST: usize = 4096;
/// Most events of one request to wait.
const MOST_AT_ONCE: u32 = 65_536;
/// A wait that takes longer is broken off with `EINTR`, so that the program gets its signals; libraries begin again.
const BREAK: Duration = Duration::from_millis(250);

#[derive(Debug, Clone)]
struct Event {
    kind: u32,
    auto_reset: bool,
    signalled: bool,
    age: u64,
    /// For memory faults: the address, 0 for hangs; and KFD's number of the GPU.
    fault: Option<(u64, u32)>,
}

#[derive(Debug, Clone, Copy)]
struct Waited {
    event: u32,
    activated: bool,
}

/// A request that waits.
#[derive(Debug)]
struct Wait {
    events: Vec<Waited>,
    all: bool,
    arguments: WaitEvents,
    argument: u64,
    /// When it ends at the latest, as the program wishes; `None` for never.
    end: Option<Duration>,
    /// When it is broken off.
    pause: Duration,
    failed: bool,
}

/// The events of a process, and the requests that wait for them.
#[derive(Debug, Default)]
pub(crate) struct Events {
    known: BTreeMap<u32, Event>,
    waits: BTreeMap<u64, Wait>,
    last: u32,
}

impl Events {
    /// Makes an event.
    pub(crate) fn create(&mut self, kind: u32, auto_reset: bool) -> Result<u32, Errno> {
        if self.known.len() >= MOST {
            return Err(Errno::TooMany);
        }
        // Numbers of events that are gone are used again, as there may be only as many as the page of signals has places.
        let limit = u32::try_from(MOST).unwrap_or(u32::MAX);
        let next = (1..=limit).map(|step| (self.last + step - 1) % limit + 1).find(|id| !self.known.contains_key(id));
        let id = next.ok_or(Errno::TooMany)?;
        self.last = id % limit;
        self.known.insert(id, Event { kind, auto_reset, signalled: false, age: 1, fault: None });
        Ok(id)
    }

    /// Removes an event; requests that wait for it fail.
    pub(crate) fn destroy(&mut self, id: u32) -> Result<(), Errno> {
        self.known.remove(&id).ok_or(Errno::Invalid)?;
        for wait in self.waits.values_mut() {
            wait.failed |= wait.events.iter().any(|waited| waited.event == id);
        }
        Ok(())
    }

    /// Sets an event, as programs and GPUs do.
    pub(crate) fn set(&mut self, id: u32) -> Result<(), Errno> {
        let event = self.known.get_mut(&id).ok_or(Errno::Invalid)?;
        event.age = event.age.saturating_add(1);
        let mut waiting = false;
        for waited in self.waits.values_mut().flat_map(|wait| &mut wait.events).filter(|waited| waited.event == id) {
            waited.activated = true;
            waiting = true;
        }
        // An event that resets itself wakes those who wait, or else the next one.
        event.signalled = !event.auto_reset || !waiting;
        Ok(())
    }

    /// Resets an event.
    pub(crate) fn reset(&mut self, id: u32) -> Result<(), Errno> {
        self.known.get_mut(&id).ok_or(Errno::Invalid)?.signalled = false;
        Ok(())
    }

    /// Sets all events for memory faults: a GPU accessed an address that it has no memory at.
    pub(crate) fn fault(&mut self, address: u64, gpu_id: u32) {
        self.set_all(event_type::MEMORY, address, gpu_id);
    }

    /// Sets all events for failures of the hardware: a GPU hung and lost its memory.
    pub(crate) fn hang(&mut self, gpu_id: u32) {
        self.set_all(event_type::HW_EXCEPTION, 0, gpu_id);
    }

    fn set_all(&mut self, kind: u32, address: u64, gpu_id: u32) {
        let ids = self.known.iter_mut().filter(|(_, event)| event.kind == kind);
        let ids: Vec<u32> = ids
            .map(|(id, event)| {
                event.fault = Some((address, gpu_id));
                *id
            })
            .collect();
        for id in ids {
            // It is known: it was found above.
            let _ = self.set(id);
        }
    }

    /// Begins to wait. `token` names the request in what [`Events::ended`] returns.
    pub(crate) fn wait(
        &mut self,
        token: u64,
        arguments: WaitEvents,
        argument: u64,
        memory: &dyn Memory,
        now: Duration,
    ) -> Result<(), Errno> {
        if arguments.num_events > MOST_AT_ONCE {
            return Err(Errno::Invalid);
        }
        let mut waited = Vec::new();
        for index in 0..arguments.num_events {
            let data: EventData = memory::read(memory, element(&arguments, index)?).map_err(|_| Errno::BadAddress)?;
            let event = self.known.get_mut(&data.event_id).ok_or(Errno::Invalid)?;
            let newer =
                event.kind == event_type::SIGNAL && data.last_event_age != 0 && data.last_event_age != event.age;
            let activated = event.signalled || newer;
            event.signalled &= !event.auto_reset;
            waited.push(Waited { event: data.event_id, activated });
        }
        let wished = Duration::from_millis(arguments.timeout.into());
        let end = (arguments.timeout != u32::MAX).then(|| now.saturating_add(wished));
        let pause = now.saturating_add(BREAK);
        let all = arguments.wait_for_all != 0;
        self.waits.insert(token, Wait { events: waited, all, arguments, argument, end, pause, failed: false });
        Ok(())
    }

    /// Forgets a request, as nobody waits for its answer any more.
    pub(crate) fn forget(&mut self, token: u64) {
        self.waits.remove(&token);
    }

    /// When the next request ends though nothing happens.
    pub(crate) fn next_end(&self) -> Option<Duration> {
        self.waits.values().map(|wait| wait.end.map_or(wait.pause, |end| end.min(wait.pause))).min()
    }

    /// The requests that are done, with their answers; what they are about is written to the program's memory.
    pub(crate) fn ended(&mut self, memory: &dyn Memory, now: Duration) -> Vec<(u64, Result<(), Errno>)> {
        let (events, waits) = (&self.known, &mut self.waits);
        let done: Vec<(u64, u32)> =
            waits.iter().filter_map(|(token, wait)| Some((*token, wait.result(now)?))).collect();
        let mut answers = Vec::new();
        for (token, result) in done {
            let Some(wait) = waits.remove(&token) else { continue };
            answers.push((token, wait.answer(events, result, memory)));
        }
        let paused = |(token, wait): (&u64, &Wait)| (wait.pause <= now).then_some(*token);
        for token in waits.iter().filter_map(paused).collect::<Vec<_>>() {
            let Some(mut wait) = waits.remove(&token) else { continue };
            if let Some(end) = wait.end {
                let left = end.saturating_sub(now).as_millis();
                wait.arguments.timeout = u32::try_from(left).unwrap_or(u32::MAX - 1);
            }
            let written = memory::write(memory, wait.argument, &wait.arguments);
            answers.push((token, Err(if written.is_ok() { Errno::Interrupted } else { Errno::BadAddress })));
        }
        answers
    }
}

impl Wait {
    fn result(&self, now: Duration) -> Option<u32> {
        if self.failed {
            return Some(wait_result::FAIL);
        }
        let mut activated = self.events.iter().map(|waited| waited.activated);
        let complete = if self.all { activated.all(|yes| yes) } else { activated.any(|yes| yes) };
        if complete || self.events.is_empty() {
            return Some(wait_result::COMPLETE);
        }
        self.end.is_some_and(|end| end <= now).then_some(wait_result::TIMEOUT)
    }

    fn answer(mut self, events: &BTreeMap<u32, Event>, result: u32, memory: &dyn Memory) -> Result<(), Errno> {
        self.arguments.wait_result = result;
        let write = || -> Result<(), Errno> {
            if result == wait_result::COMPLETE {
                for (index, waited) in (0..).zip(&self.events) {
                    let at = element(&self.arguments, index)?;
                    let mut data: EventData = memory::read(memory, at).map_err(|_| Errno::BadAddress)?;
                    let Some(event) = events.get(&waited.event).filter(|_| waited.activated) else { continue };
                    match (event.kind, event.fault) {
                        (event_type::MEMORY, Some((address, gpu_id))) => {
                            // `NotPresent` is the first half of the age's field.
                            (data.last_event_age, data.va, data.gpu_id, data.error_type) = (1, address, gpu_id, 0);
                        }
                        (event_type::HW_EXCEPTION, Some((_, gpu_id))) => {
                            // `reset_type`, `reset_cause`, `memory_lost` and `gpu_id` are the first four numbers.
                            (data.last_event_age, data.no_execute, data.imprecise) = (0, 1, gpu_id);
                        }
                        (event_type::SIGNAL, _) if data.last_event_age != 0 => data.last_event_age = event.age,
                        _ => continue,
                    }
                    memory::write(memory, at, &data).map_err(|_| Errno::BadAddress)?;
                }
            }
            memory::write(memory, self.argument, &self.arguments).map_err(|_| Errno::BadAddress)
        };
        let written = write();
        if result == wait_result::FAIL { written.and(Err(Errno::InputOutput)) } else { written }
    }
}

/// Address of an element of the array of events.
fn element(arguments: &WaitEvents, index: u32) -> Result<u64, Errno> {
    let offset = u64::from(index) * size_of::<EventData>() as u64;
    arguments.events_ptr.checked_add(offset).ok_or(Errno::BadAddress)
}

#[cfg(test)]
mod tests {
    use zerocopy::{FromBytes, FromZeros, IntoBytes};

    use super::*;
    use crate::memory::tests::Piece;

    const ARRAY: u64 = 0x1000;
    const ARGUMENT: u64 = 0x1100;

    fn wait_for(events: &mut Events, memory: &Piece, id: u32, timeout: u32) -> Result<(), Errno> {
        let mut data = EventData::new_zeroed();
        data.event_id = id;
        memory.write(ARRAY, data.as_bytes()).unwrap();
        let arguments = WaitEvents { events_ptr: ARRAY, num_events: 1, wait_for_all: 1, timeout, wait_result: 9 };
        events.wait(7, arguments, ARGUMENT, memory, Duration::ZERO)
    }

    fn result(memory: &Piece) -> WaitEvents {
        let mut bytes = [0; size_of::<WaitEvents>()];
        memory.read(ARGUMENT, &mut bytes).unwrap();
        WaitEvents::read_from_bytes(&bytes).unwrap()
    }

    #[test]
    fn a_wait_ends_when_its_event_is_set() {
        let (mut events, memory) = (Events::default(), Piece::new(0x1000, 0x1000));
        let id = events.create(event_type::SIGNAL, true).unwrap();
        wait_for(&mut events, &memory, id, 1000).unwrap();
        assert_eq!(events.ended(&memory, Duration::ZERO), []);
        events.set(id).unwrap();
        assert_eq!(events.ended(&memory, Duration::ZERO), [(7, Ok(()))]);
        assert_eq!(result(&memory).wait_result, wait_result::COMPLETE);
        wait_for(&mut events, &memory, id, 0).unwrap();
        assert_eq!(events.ended(&memory, Duration::ZERO), [(7, Ok(()))]);
        assert_eq!(result(&memory).wait_result, wait_result::TIMEOUT, "it has reset itself");
    }

    #[test]
    fn a_long_wait_lets_the_program_have_its_signals() {
        let (mut events, memory) = (Events::default(), Piece::new(0x1000, 0x1000));
        let id = events.create(event_type::SIGNAL, true).unwrap();
        wait_for(&mut events, &memory, id, 1000).unwrap();
        assert_eq!(events.next_end(), Some(BREAK));
        assert_eq!(events.ended(&memory, BREAK), [(7, Err(Errno::Interrupted))]);
        assert_eq!(result(&memory).timeout, 750);
    }

    #[test]
    fn events_that_are_not_there_are_refused() {
        let (mut events, memory) = (Events::default(), Piece::new(0x1000, 0x1000));
        assert_eq!(wait_for(&mut events, &memory, 3, 0), Err(Errno::Invalid));
        assert_eq!(events.set(3), Err(Errno::Invalid));
        assert_eq!(events.destroy(3), Err(Errno::Invalid));
        for _ in 0..MOST {
            events.create(0, true).unwrap();
        }
        assert_eq!(events.create(0, true), Err(Errno::TooMany));
        events.destroy(17).unwrap();
        assert_eq!(events.create(0, true), Ok(17));
    }

    #[test]
    fn removing_an_event_ends_the_wait_for_it() {
        let (mut events, memory) = (Events::default(), Piece::new(0x1000, 0x1000));
        let id = events.create(0, true).unwrap();
        wait_for(&mut events, &memory, id, u32::MAX).unwrap();
        events.destroy(id).unwrap();
        assert_eq!(events.ended(&memory, Duration::ZERO), [(7, Err(Errno::InputOutput))]);
    }
}
