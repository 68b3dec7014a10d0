//! [`Detector`]s behind one object-safe interface, so that the engine can hold a list of them.

use std::any::Any;

use crate::batch::Batch;
use crate::detector::{DataFacts, Detector, DetectorSpec, FitContext, NotApplicable};
use crate::finding::Finding;
use crate::shared::Shared;
use crate::state::{self, StateError};

/// A detector's fit state, of a type only the detector knows.
pub struct AnyState(Box<dyn Any + Send>);

/// A detector's model, of a type only the detector knows.
pub struct AnyModel(Box<dyn Any + Send + Sync>);

/// A detector's evidence, of a type only the detector knows.
pub struct AnyEvidence(Box<dyn Any + Send>);

/// The object-safe face of [`Detector`], implemented for all of them. A state, model or evidence
/// must come from the same detector; mixing them is a programming error and panics.
pub trait DynDetector: Send + Sync {
    /// See [`Detector::SPEC`].
    fn spec(&self) -> &'static DetectorSpec;
    /// See [`Detector::applies`].
    ///
    /// # Errors
    /// The reason why it does not apply.
    fn applies(&self, facts: &DataFacts) -> Result<(), NotApplicable>;
    /// See [`Detector::start`].
    fn start(&self, context: &FitContext) -> AnyState;
    /// See [`Detector::fit`].
    fn fit(&self, context: &FitContext, state: &mut AnyState, batch: &Batch<'_>);
    /// See [`Detector::merge`].
    fn merge(&self, context: &FitContext, state: &mut AnyState, later: AnyState);
    /// See [`Detector::model`].
    ///
    /// # Errors
    /// The reason why the detector abstains.
    fn model(
        &self,
        context: &FitContext,
        state: AnyState,
        shared: &Shared,
    ) -> Result<AnyModel, NotApplicable>;
    /// See [`Detector::start_evidence`].
    fn start_evidence(&self, model: &AnyModel) -> AnyEvidence;
    /// See [`Detector::score`].
    fn score(
        &self,
        model: &AnyModel,
        shared: &Shared,
        batch: &Batch<'_>,
        evidence: &mut AnyEvidence,
    ) -> Vec<f32>;
    /// See [`Detector::merge_evidence`].
    fn merge_evidence(&self, evidence: &mut AnyEvidence, later: AnyEvidence);
    /// See [`Detector::finish`].
    fn finish(&self, model: &AnyModel, shared: &Shared, evidence: AnyEvidence) -> Vec<Finding>;
    /// The bytes of a fit state, see [`crate::state`].
    ///
    /// # Errors
    /// When the state does not serialise.
    fn encode_state(&self, state: &AnyState) -> Result<Vec<u8>, StateError>;
    /// Reads a fit state back.
    ///
    /// # Errors
    /// When the bytes are not a state of this detector and version.
    fn decode_state(&self, bytes: &[u8]) -> Result<AnyState, StateError>;
    /// The bytes of evidence, see [`crate::state`].
    ///
    /// # Errors
    /// When the evidence does not serialise.
    fn encode_evidence(&self, evidence: &AnyEvidence) -> Result<Vec<u8>, StateError>;
    /// Reads evidence back.
    ///
    /// # Errors
    /// When the bytes are not evidence of this detector and version.
    fn decode_evidence(&self, bytes: &[u8]) -> Result<AnyEvidence, StateError>;
}

fn typed<T: 'static>(any: &(dyn Any + Send)) -> &T {
    any.downcast_ref().expect("a value of the same detector")
}

fn typed_mut<T: 'static>(any: &mut (dyn Any + Send)) -> &mut T {
    any.downcast_mut().expect("a value of the same detector")
}

fn owned<T: 'static>(any: Box<dyn Any + Send>) -> T {
    *any.downcast().expect("a value of the same detector")
}

impl AnyModel {
    fn typed<T: 'static>(&self) -> &T {
        self.0.downcast_ref().expect("a model of the same detector")
    }
}

impl<D: Detector> DynDetector for D {
    fn spec(&self) -> &'static DetectorSpec {
        &D::SPEC
    }

    fn applies(&self, facts: &DataFacts) -> Result<(), NotApplicable> {
        Detector::applies(self, facts)
    }

    fn start(&self, context: &FitContext) -> AnyState {
        AnyState(Box::new(Detector::start(self, context)))
    }

    fn fit(&self, context: &FitContext, state: &mut AnyState, batch: &Batch<'_>) {
        Detector::fit(self, context, typed_mut(state.0.as_mut()), batch);
    }

    fn merge(&self, context: &FitContext, state: &mut AnyState, later: AnyState) {
        Detector::merge(self, context, typed_mut(state.0.as_mut()), owned(later.0));
    }

    fn model(
        &self,
        context: &FitContext,
        state: AnyState,
        shared: &Shared,
    ) -> Result<AnyModel, NotApplicable> {
        let model = Detector::model(self, context, owned(state.0), shared)?;
        Ok(AnyModel(Box::new(model)))
    }

    fn start_evidence(&self, model: &AnyModel) -> AnyEvidence {
        AnyEvidence(Box::new(Detector::start_evidence(self, model.typed())))
    }

    fn score(
        &self,
        model: &AnyModel,
        shared: &Shared,
        batch: &Batch<'_>,
        evidence: &mut AnyEvidence,
    ) -> Vec<f32> {
        let evidence = typed_mut(evidence.0.as_mut());
        Detector::score(self, model.typed(), shared, batch, evidence)
    }

    fn merge_evidence(&self, evidence: &mut AnyEvidence, later: AnyEvidence) {
        Detector::merge_evidence(self, typed_mut(evidence.0.as_mut()), owned(later.0));
    }

    fn finish(&self, model: &AnyModel, shared: &Shared, evidence: AnyEvidence) -> Vec<Finding> {
        Detector::finish(self, model.typed(), shared, owned(evidence.0))
    }

    fn encode_state(&self, state: &AnyState) -> Result<Vec<u8>, StateError> {
        state::encode::<D::State>(D::SPEC.id, D::SPEC.state_version, typed(state.0.as_ref()))
    }

    fn decode_state(&self, bytes: &[u8]) -> Result<AnyState, StateError> {
        let state = state::decode::<D::State>(D::SPEC.id, D::SPEC.state_version, bytes)?;
        Ok(AnyState(Box::new(state)))
    }

    fn encode_evidence(&self, evidence: &AnyEvidence) -> Result<Vec<u8>, StateError> {
        let evidence = typed(evidence.0.as_ref());
        state::encode::<D::Evidence>(D::SPEC.id, D::SPEC.state_version, evidence)
    }

    fn decode_evidence(&self, bytes: &[u8]) -> Result<AnyEvidence, StateError> {
        let evidence = state::decode::<D::Evidence>(D::SPEC.id, D::SPEC.state_version, bytes)?;
        Ok(AnyEvidence(Box::new(evidence)))
    }
}
